using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>
/// Programs that rebuild their page tables run the same with a TLB that is emptied all the time: it never shows.
/// </summary>
public sealed unsafe class RandomPagingTests
{
    const int QuickPrograms = 12, SlowPrograms = 2_000;
    const ulong Counts = 4000, Step = 500;

    [Test]
    public void An_emptied_tlb_changes_nothing() => Compare(1, QuickPrograms);

    [Test, Explicit("Many programs."), Category("Slow")]
    public void An_emptied_tlb_changes_nothing_at_length() => Compare(1_000_000, SlowPrograms);

    static void Compare(int firstSeed, int programs)
    {
        for (int seed = firstSeed; seed < firstSeed + programs; seed++)
        {
            using VcpuFixture kept = Build(seed), emptied = Build(seed);
            var random = new Random(seed);
            for (ulong time = Step; time <= Counts; time += Step)
            {
                RunTo(kept, time, null);
                RunTo(emptied, time, random);
                Assert.That(Describe(emptied), Is.EqualTo(Describe(kept)), $"program {seed} at {time}");
                ulong place = RandomPagingProgram.Tables + 8 * (ulong)random.Next(2);
                ulong entry = new RandomPagingProgram(random).Entry();
                kept.Memory.Write64(place, entry);
                emptied.Memory.Write64(place, entry);
            }
        }
    }

    static void RunTo(VcpuFixture pc, ulong time, Random? slices)
    {
        while (pc.Clock.Now < time)
        {
            ulong left = time - pc.Clock.Now;
            if (slices is not null) pc.Cpu.Refresh();
            StopReason reason = pc.Cpu.Run(slices is null ? left : ulong.Min(left, (ulong)slices.Next(1, 6)));
            if (reason is StopReason.Halted or StopReason.Shutdown) pc.Clock.Now = time;
        }
    }

    static string Describe(VcpuFixture pc)
    {
        CpuState* s = pc.State;
        return string.Join(' ', Enumerable.Range(0, 16).Select(i => s->Gpr[i].ToString("X")))
            + $" rip {s->Rip:X} cpl {s->Cpl} cr2 {s->Cr2:X} cr3 {s->Cr3:X} faults {(s->Gpr[13] - RandomPagingProgram.Log) / 16}"
            + $" halted {s->IsHalted} retired {pc.Cpu.Retired} memory {pc.Memory.Hash():X}";
    }

    static VcpuFixture Build(int seed)
    {
        var pc = new VcpuFixture();
        var random = new Random(seed);
        var program = new RandomPagingProgram(random);
        for (int i = 1; i < RandomPagingProgram.Roots; i++)
            pc.Memory.Write64(RandomPagingProgram.RootOf(i), pc.Memory.Read64(RootTable));
        for (int i = 0; i < RandomPagingProgram.Roots; i++)
            pc.Memory.Write64(RandomPagingProgram.RootOf(i) + 8, RandomPagingProgram.Tables + 0x1000UL * (ulong)i
                | Present | Writable | User);
        for (ulong place = RandomPagingProgram.Tables; place < RandomPagingProgram.Tables + 0x5000; place += 0x1000)
            for (ulong index = 0; index < 2; index++) pc.Memory.Write64(place + 8 * index, program.Entry());
        pc.Map(UserPages, UserPages, Present | Writable | User);
        RandomPagingProgram.WriteUserPrograms(pc);
        WriteHandlers(pc);
        pc.Load(code => program.Write(code, 80));
        pc.State->Gpr[13] = RandomPagingProgram.Log;
        pc.State->Cr4 |= Cr4.Smep;
        pc.Cpu.Refresh();
        return pc;
    }

    static void WriteHandlers(VcpuFixture pc)
    {
        const ulong OfFault = 0x9000 + 0x800, Resume = 0x9000 + 0x840;
        pc.Load(code =>
        {
            code.mov(rax, cr2);
            code.mov(__[r13], rax);
            code.pop(rax);
            code.mov(__[r13 + 8], rax);
            code.add(r13, 16);
            code.mov(rsp, StackTop);
            code.jmp(r12);
        }, OfFault);
        pc.Load(code =>
        {
            code.mov(rsp, StackTop);
            code.jmp(r12);
        }, Resume);
        foreach (byte vector in (byte[])[Vector.InvalidOpcode, Vector.GeneralProtection, Vector.DivideError])
            pc.SetGate(vector, Resume);
        pc.SetGate(Vector.PageFault, OfFault);
        pc.SetGate(RandomPagingProgram.BackToKernel, Resume, dpl: 3);
    }
}
