using Iced.Intel;

namespace VmLab.X86.Tests.Oracle;

/// <summary>One instruction with everything that goes into it.</summary>
/// <param name="Address">Where it stands, on the host as in the guest.</param>
/// <param name="Gpr">Registers by number.</param>
/// <param name="Stores">Words of memory that it is to find: addresses and values.</param>
public sealed record OracleCase(
    Instruction Instruction, byte[] Bytes, ulong Address, ulong[] Gpr, ulong Flags,
        List<(ulong Address, ulong Value)> Stores)
{
    static readonly string[] s_names =
        ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

    public bool Repeats => Instruction.IsStringInstruction && (Instruction.HasRepPrefix || Instruction.HasRepnePrefix);

    /// <summary>How much there is to read in it: the simplest of many failures has the least.</summary>
    public int Complexity =>
        Gpr.Sum(value => int.Min(value.ToString("X").Length, (~value).ToString("X").Length)) + 4 * Bytes.Length;

    public static string Name(int register) => s_names[register];

    public override string ToString()
    {
        var text = new StringOutput();
        new NasmFormatter().Format(Instruction, text);
        return $"{text.ToStringAndReset()}   [{Convert.ToHexString(Bytes)} at 0x{Address:X}]";
    }
}
