using System.Text;
using Iced.Intel;
using VmLab.X86.Tests.Guests;
using VmLab.X86.Tests.Native;

namespace VmLab.X86.Tests.Oracle;

/// <summary>
/// Random instructions in a row, as one block and one at a time: what a block skips, since nobody can see it, nobody
/// may see.
/// </summary>
public sealed unsafe class SequenceTests
{
    const int QuickSequences = 4_000, SlowSequences = 2_000_000;
    const ulong Address = NativeCpu.CodePages + 0x100, PhysicalCode = 0x40_0000, PhysicalData = 0x42_0000;

    static readonly Code[] s_codes =
        [.. IntegerForms.Of(isNarrow: false).SelectMany(group => group).Where(code =>
            code.FlowControl() == FlowControl.Next && !code.IsStringInstruction()
            && code.Mnemonic() is not (Mnemonic.Div or Mnemonic.Idiv or Mnemonic.Enter or Mnemonic.Leave
                or Mnemonic.Xlatb or Mnemonic.Popf or Mnemonic.Popfq))];

    [Test]
    public void A_block_does_what_its_instructions_do() => Compare(1, QuickSequences);

    [Test, Explicit("Millions of sequences."), Category("Slow")]
    public void A_block_does_what_its_instructions_do_at_length() => Compare(2, SlowSequences);

    static void Compare(int seed, int sequences)
    {
        using VcpuFixture whole = Build(), single = Build();
        var random = new Random(seed);
        var generator = new CaseGenerator(random, _ => 0);
        for (int i = 0; i < sequences; i++)
        {
            OracleCase[] row = [.. Enumerable.Range(0, random.Next(2, 14)).Select(_ => Draw(generator, random))];
            ulong[] registers = row[0].Gpr;
            registers[Gpr.Rsp] = NativeCpu.StackPointer & ~15UL;
            byte[] bytes = Encode(row);
            foreach (VcpuFixture pc in (VcpuFixture[])[whole, single])
            {
                pc.Memory.Write(PhysicalCode + 0x100, bytes);
                registers.CopyTo(new Span<ulong>(pc.State->Gpr, 16));
                pc.Cpu.SetFlags(row[0].Flags);
                pc.State->Rip = Address;
            }
            whole.Cpu.Run((ulong)row.Length);
            for (int count = 0; count < row.Length; count++) single.Cpu.Run(1);
            Assert.That(Describe(whole), Is.EqualTo(Describe(single)), () =>
                string.Join('\n', row.Select(test => test.ToString())));
        }
        Assert.That(whole.Memory.Hash(), Is.EqualTo(single.Memory.Hash()));
    }

    /// <summary>An instruction whose memory operand, if any, needs no register.</summary>
    static OracleCase Draw(CaseGenerator generator, Random random)
    {
        while (true)
        {
            OracleCase test = generator.Next(s_codes[random.Next(s_codes.Length)]);
            bool isFree = test.Instruction.MemoryBase is Iced.Intel.Register.None or Iced.Intel.Register.RIP
                && test.Instruction.MemoryIndex == Iced.Intel.Register.None;
            bool isFarBit = test.Instruction.Mnemonic is Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc
                && test.Instruction.Op0Kind == OpKind.Memory && test.Instruction.Op1Kind == OpKind.Register;
            bool movesStack = test.Instruction.Op0Kind == OpKind.Register
                && test.Instruction.Op0Register.GetFullRegister() == Iced.Intel.Register.RSP
                || test.Instruction.OpCount > 1 && test.Instruction.Op1Kind == OpKind.Register
                    && test.Instruction.Op1Register.GetFullRegister() == Iced.Intel.Register.RSP;
            if (isFree && !isFarBit && !movesStack) return test;
        }
    }

    static byte[] Encode(OracleCase[] row)
    {
        var writer = new List<byte>();
        var encoder = Iced.Intel.Encoder.Create(64, new Collector(writer));
        foreach (OracleCase test in row) encoder.Encode(test.Instruction, Address + (ulong)writer.Count);
        return [.. writer];
    }

    static string Describe(VcpuFixture pc)
    {
        var text = new StringBuilder();
        for (int i = 0; i < 16; i++) text.Append($"{OracleCase.Name(i)}={pc.State->Gpr[i]:X} ");
        return text.Append($"rip={pc.State->Rip:X} flags={Flags.All(pc.State):X} now={pc.Clock.Now}").ToString();
    }

    static VcpuFixture Build()
    {
        var pc = new VcpuFixture();
        pc.EnterUser();
        const ulong Bits = VcpuFixture.Present | VcpuFixture.Writable | VcpuFixture.User;
        pc.Map(NativeCpu.CodePages, PhysicalCode, Bits);
        for (ulong page = 0; page < 0x4000; page += 0x1000)
            pc.Map(NativeCpu.DataPages + page, PhysicalData + page, Bits);
        for (ulong page = 0; page < 0x2000; page += 0x1000)
            pc.Map(NativeCpu.StackPointer - 0x1000 + page, PhysicalData + 0x8000 + page, Bits);
        var data = new byte[0x4000];
        new Random(5).NextBytes(data);
        pc.Memory.Write(PhysicalData, data);
        pc.Cpu.Refresh();
        return pc;
    }

    sealed class Collector(List<byte> bytes) : CodeWriter
    {
        public override void WriteByte(byte value) => bytes.Add(value);
    }
}
