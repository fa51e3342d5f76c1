using Iced.Intel;

namespace VmLab.X86.Oracle;

/// <summary>One instruction, or random bytes, between what goes in and what comes out.</summary>
/// <param name="Number">With the seed it is all that the case follows from.</param>
/// <param name="Form">What was asked for; <see langword="null"/> for random bytes.</param>
/// <param name="Bytes">The code, as decoded or as drawn.</param>
/// <param name="Instruction">As a processor reads it that has what is announced.</param>
/// <param name="Newest">As a processor reads it that has whatever there is.</param>
public sealed record Case(
    ulong Seed, ulong Number, Form? Form, int Bitness, byte[] Bytes, Instruction Instruction, Instruction Newest)
{
    public override string ToString()
    {
        var text = new StringOutput();
        new NasmFormatter().Format(Instruction, text);
        return $"{text.ToStringAndReset()}   [{Convert.ToHexString(Bytes)}, {Bitness}-bit, {Instruction.Code}, "
            + $"at 0x{Instruction.IP:X}]   repeat: --seed {Seed} --only {Number}";
    }
}
