using Iced.Intel;
using VmLab.Core;

namespace VmLab.X86.Tests.Guests;

/// <summary>Interrupts that a test asks for by hand.</summary>
public sealed class FakeInterrupts : IInterruptSource
{
    public Queue<byte> Pending { get; } = [];
    public bool IsRequested => Pending.Count > 0;
    public byte Priority { get; set; }

    public byte Acknowledge() => Pending.Dequeue();
}

/// <summary>A processor in 64-bit mode with a little RAM, and tables to build programs on.</summary>
/// <remarks>
/// All RAM is mapped where it lies, for the supervisor. Every vector leads to a HLT of its own (<see
/// cref="HandlerOf"/>), so that a
/// test reads what was delivered from where the processor halted, and the frame from the stack.
/// </remarks>
public sealed unsafe class VcpuFixture : IDisposable
{
    public const ulong Present = 1, Writable = 2, User = 4, Accessed = 0x20, Dirty = 0x40, Large = 0x80,
        NoExecute = 1UL << 63;

    public const ushort KernelCode = 0x08, KernelData = 0x10, UserCode32 = 0x1B, UserData = 0x23, UserCode = 0x2B,
        KernelCode32 = 0x30, TaskState = 0x38;

    public const ulong Gdt = 0x5000, Idt = 0x6000, Tss = 0x7000, Handlers = 0x8000, Code = 0x1_0000, Data = 0x2_0000,
        UserPages = 0x4_0000, StackTop = 0x3_0000, KernelStackTop = 0x3_4000, FirstIstTop = 0x3_6000;

    const ulong Root = 0x10_0000, TablesEnd = 0x20_0000, AddressBits = 0xFF_FFFF_F000;

    readonly FramePool _pool = new(256.MiB);
    ulong _nextTable = Root + 0x1000;

    public VcpuFixture()
    {
        Memory = new GuestMemory(_pool, 8.MiB);
        Bus = new MemoryBus(Memory);
        Cpu = new Vcpu(new VcpuBoard(Bus, Ports, new MsrBus(), Interrupts, Clock, Exits), Rng.FromSeed(1));
        for (ulong page = 0; page < Memory.Size.Bytes; page += 0x1000) Map(page, page, Present | Writable);
        WriteTables();
        Cpu.Start(isLong: true, Code, Root, Gdt, 0x47, KernelCode, KernelData);
        CpuState* s = Cpu.State;
        (s->IdtBase, s->IdtLimit) = (Idt, 0xFFF);
        (s->TssSelector, s->TssBase, s->TssLimit, s->TssRights) = (TaskState, Tss, 103, 0x8B);
        s->Cr0 |= Cr0.WriteProtect;
        s->Efer |= Efer.SystemCall | Efer.NoExecute;
        s->Gpr[Gpr.Rsp] = StackTop;
        Cpu.Refresh();
    }

    public GuestMemory Memory { get; }
    public MemoryBus Bus { get; }
    public PortBus Ports { get; } = new();
    public FakeInterrupts Interrupts { get; } = new();
    public VirtualClock Clock { get; } = new();
    public ExitCounters Exits { get; } = new();
    public Vcpu Cpu { get; }
    public CpuState* State => Cpu.State;

    /// <summary>Physical address of the root page table.</summary>
    public static ulong RootTable => Root;

    public static ulong HandlerOf(byte vector) => Handlers + vector * 16UL;

    /// <summary>The vector whose handler the processor halted in.</summary>
    public int HaltedVector => (int)(State->Rip - 1 - Handlers) / 16;

    /// <summary>The vector whose handler the processor stands at, or halted in.</summary>
    public int HaltedVectorAtEntry => (int)(State->Rip - Handlers) / 16;

    /// <summary>The words that the delivery pushed: error code where there is one, RIP, CS, RFLAGS, RSP, SS.</summary>
    public ulong[] Frame(int words) =>
        [.. Enumerable.Range(0, words).Select(i => Memory.Read64(State->Gpr[Gpr.Rsp] + 8 * (ulong)i))];

    /// <summary>Maps a page of 4 KiB, 2 MiB or 1 GiB, through tables that allow everything.</summary>
    /// <returns>Physical address of the last entry.</returns>
    public ulong Map(ulong linear, ulong physical, ulong bits, int level = 1)
    {
        ulong entry = EntryOf(linear, level);
        Memory.Write64(entry, physical | bits | (level > 1 ? Large : 0));
        return entry;
    }

    /// <summary>
    /// Physical address of the entry that maps a linear address at a level, tables above it made as needed.
    /// </summary>
    public ulong EntryOf(ulong linear, int level = 1, ulong root = Root)
    {
        ulong table = root;
        for (int at = 4; ; at--)
        {
            ulong address = table + 8 * (linear >> 12 + 9 * (at - 1) & 0x1FF);
            if (at == level) return address;
            ulong entry = Memory.Read64(address);
            if ((entry & Present) == 0) Memory.Write64(address, entry = NewTable() | Present | Writable | User);
            table = entry & AddressBits;
        }
    }

    /// <summary>A page of RAM, cleared, for a page table.</summary>
    public ulong NewTable()
    {
        Assert.That(_nextTable, Is.LessThan(TablesEnd), "The fixture has no room for more page tables.");
        _nextTable += 0x1000;
        return _nextTable - 0x1000;
    }

    /// <summary>Assembles code and loads it where the identity map has it.</summary>
    /// <returns>The address behind it.</returns>
    public ulong Load(Action<Assembler> write, ulong address = Code, int bitness = 64)
    {
        byte[] bytes = Assemble(write, address, bitness);
        Memory.Write(address, bytes);
        return address + (ulong)bytes.Length;
    }

    public static byte[] Assemble(Action<Assembler> write, ulong address, int bitness = 64)
    {
        var assembler = new Assembler(bitness);
        write(assembler);
        using var bytes = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(bytes), address);
        return bytes.ToArray();
    }

    /// <summary>
    /// Maps the page of code at <see cref="UserPages"/> and those behind it for ring 3, and goes there.
    /// </summary>
    public void EnterUser(int pages = 4)
    {
        for (int i = 0; i < pages; i++)
            Map(UserPages + 0x1000UL * (ulong)i, UserPages + 0x1000UL * (ulong)i, Present | Writable | User);
        CpuState* s = State;
        s->Cpl = 3;
        (s->SegmentSelectors[Segment.Cs], s->SegmentRights[Segment.Cs]) = (UserCode, 0xA0FB);
        (s->SegmentSelectors[Segment.Ss], s->SegmentRights[Segment.Ss]) = (UserData, 0xC0F3);
        s->Rip = UserPages;
        s->Gpr[Gpr.Rsp] = UserPages + 0x1000UL * (ulong)pages;
        Cpu.Refresh();
    }

    /// <summary>Runs until the processor halts.</summary>
    public void RunToHalt(ulong limit = 10_000)
    {
        ulong end = Clock.Now + limit;
        StopReason reason;
        do reason = Cpu.Run(end - Clock.Now);
        while (reason == StopReason.Device);
        Assert.That(reason, Is.EqualTo(StopReason.Halted), $"RIP 0x{State->Rip:X}");
    }

    public void Dispose()
    {
        Cpu.Dispose();
        Memory.Dispose();
        _pool.Dispose();
    }

    void WriteTables()
    {
        ulong[] descriptors =
            [0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x00CF_FB00_0000_FFFF, 0x00CF_F300_0000_FFFF,
                0x00AF_FB00_0000_FFFF, 0x00CF_9B00_0000_FFFF,
             103 | Tss << 16 | 0x89UL << 40, 0];
        for (int i = 0; i < descriptors.Length; i++) Memory.Write64(Gdt + 8 * (ulong)i, descriptors[i]);
        for (int vector = 0; vector < 256; vector++)
        {
            SetGate((byte)vector, HandlerOf((byte)vector));
            Memory.Write(HandlerOf((byte)vector), [0xF4]);
        }
        Memory.Write64(Tss + 4, KernelStackTop);
        Memory.Write64(Tss + 36, FirstIstTop);
        Memory.Write(Tss + 102, [104, 0]);   // no permission map
    }

    /// <param name="type">14 for an interrupt gate, 15 for a trap gate.</param>
    public void SetGate(byte vector, ulong target, int dpl = 0, int stack = 0, int type = 14,
        ushort selector = KernelCode)
    {
        ulong low = target & 0xFFFF | (ulong)selector << 16 | (ulong)stack << 32 | (ulong)(0x80 | dpl << 5 | type) << 40
            | (target & 0xFFFF_0000) << 32;
        Memory.Write64(Idt + vector * 16UL, low);
        Memory.Write64(Idt + vector * 16UL + 8, target >> 32);
    }
}
