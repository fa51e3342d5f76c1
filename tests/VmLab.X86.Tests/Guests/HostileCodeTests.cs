using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>Whatever bytes a guest runs, the host lives, counts are kept, and a cut run is the same run.</summary>
public sealed unsafe class HostileCodeTests
{
    const int QuickGuests = 60, SlowGuests = 5_000;
    const ulong Counts = 400;

    [Test]
    public void Random_bytes_do_no_harm([Values] bool isUser, [Values] bool isNarrow) =>
        Run(1, QuickGuests, isUser, isNarrow);

    [Test, Explicit("Many guests."), Category("Slow")]
    public void Random_bytes_do_no_harm_at_length([Values] bool isUser, [Values] bool isNarrow) =>
        Run(1_000_000, SlowGuests, isUser, isNarrow);

    static void Run(int firstSeed, int guests, bool isUser, bool isNarrow)
    {
        for (int seed = firstSeed; seed < firstSeed + guests; seed++)
        {
            using var whole = new VcpuFixture();
            using var sliced = new VcpuFixture();
            foreach (VcpuFixture pc in (VcpuFixture[])[whole, sliced]) Prepare(pc, new Random(seed), isUser, isNarrow);
            RunOn(whole, Counts, new Random(seed), isSliced: false);
            RunOn(sliced, Counts, new Random(seed), isSliced: true);
            Assert.That(Describe(sliced), Is.EqualTo(Describe(whole)), $"guest {seed}");
        }
    }

    static void RunOn(VcpuFixture pc, ulong counts, Random random, bool isSliced)
    {
        ulong end = pc.Clock.Now + counts;
        while (pc.Clock.Now < end)
        {
            ulong before = pc.Clock.Now, left = end - before;
            ulong slice = isSliced ? ulong.Min(left, (ulong)random.Next(1, 9)) : left;
            StopReason reason = pc.Cpu.Run(slice);
            if (reason == StopReason.Budget && pc.Clock.Now != before + slice)
                Assert.Fail($"{pc.Clock.Now - before} counts of {slice}");
            if (reason is StopReason.Halted or StopReason.Shutdown) pc.Clock.Now = end;
        }
    }

    /// <summary>Random code, registers and data; faults land in handlers that are random code too.</summary>
    static void Prepare(VcpuFixture pc, Random random, bool isUser, bool isNarrow)
    {
        var bytes = new byte[0x3000];
        random.NextBytes(bytes);
        pc.Memory.Write(Data, bytes);
        for (int i = 0; i < 0x400; i++) bytes[i] = Likely(bytes[i], random);
        pc.Memory.Write(UserPages, bytes);
        pc.Memory.Write(HandlerOf(0), bytes.AsSpan(0, 0x1000));
        pc.EnterUser();
        CpuState* s = pc.State;
        if (!isUser)
            (s->Cpl, s->SegmentSelectors[Segment.Cs], s->SegmentRights[Segment.Cs], s->SegmentRights[Segment.Ss]) =
                (0, KernelCode, 0xA09B, 0xC093);
        if (isNarrow) s->SegmentRights[Segment.Cs] ^= SegmentRights.Long | SegmentRights.Big;
        for (int i = 0; i < 16; i++)
            if (i != Gpr.Rsp)
                s->Gpr[i] = random.Next(3) == 0 ? (ulong)random.NextInt64()
                    : (random.Next(2) == 0 ? Data : UserPages) + (ulong)random.Next(0x2000);
        if (random.Next(4) == 0) s->SystemFlags |= Rflags.Trap;
        pc.Cpu.Refresh();
    }

    // Pure noise is mostly faults: let common opcodes and prefixes come more often.
    static byte Likely(byte value, Random random)
    {
        ReadOnlySpan<byte> common =
            [0x0F, 0x48, 0x66, 0x89, 0x8B, 0x01, 0xF3, 0xF2, 0xA4, 0xAB, 0x90, 0xC3, 0xE8, 0x75, 0xEB, 0x50, 0x58,
            0xFF, 0xD8, 0xDD, 0x67, 0xF0, 0x65, 0xC8, 0xCF];
        return random.Next(2) == 0 ? value : common[random.Next(common.Length)];
    }

    static string Describe(VcpuFixture pc)
    {
        CpuState* s = pc.State;
        return string.Join(' ', Enumerable.Range(0, 16).Select(i => s->Gpr[i].ToString("X")))
            + $" rip {s->Rip:X} flags {Flags.All(s):X} cs {s->SegmentSelectors[Segment.Cs]:X} cpl {s->Cpl} cr0 {s->Cr0:X} cr2 {s->Cr2:X} cr3 {s->Cr3:X} cr4 {s->Cr4:X}"
            + $" halted {s->IsHalted} shadow {s->InterruptShadow} retired {pc.Cpu.Retired} memory {pc.Memory.Hash():X}";
    }
}
