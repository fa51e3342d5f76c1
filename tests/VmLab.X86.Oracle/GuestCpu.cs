using VmLab.Core;
using VmLab.X86.Floating;

namespace VmLab.X86.Oracle;

/// <summary>
/// Our processor in the place of the host's: Linux' descriptors, control registers as Linux sets them, and the memory of
/// <see cref="CaseLayout"/> in scattered physical pages. A case starts by an IRETQ and ends in a handler of one HLT.
/// </summary>
public sealed unsafe class GuestCpu : IDisposable
{
    // Physical addresses; the kernel's part is mapped at Kernel, so that below it there is nothing but the case's own pages.
    const ulong Gdt = 0x5000, Idt = 0x6000, Tss = 0x7000, Handlers = 0x8000, KernelStackTop = 0xC000, ReturnCode = 0xD000,
        KernelEnd = 0x10_0000, Root = KernelEnd, CodeFrames = 0x40_0000, DataFrames = 0x50_0000;
    const ulong Kernel = 0xFFFF_A000_0000_0000;
    const ulong Present = 1, Writable = 2, User = 4, NoExecute = 1UL << 63;
    const ulong HandlerSize = 16, MaxCounts = 4096;
    const ushort KernelCode = 0x10, KernelData = 0x18, TaskState = 0x40;
    const int FirstOpenVector = 3, LastOpenVector = 4, SystemCallVector = 0x80, FrameWords = 5;

    readonly FramePool _pool = new(64.MiB);
    readonly GuestMemory _memory;
    readonly Vcpu _cpu;
    readonly VirtualClock _clock = new();
    ulong _nextTable = Root + CaseLayout.PageSize;

    /// <param name="readOnlyPage">The content of the page that cannot be written.</param>
    /// <param name="translates">Every block that can be is translated at its first visit.</param>
    public GuestCpu(ReadOnlySpan<byte> readOnlyPage, bool translates = false)
    {
        _memory = new GuestMemory(_pool, 8.MiB);
        var board = new VcpuBoard(new MemoryBus(_memory), new PortBus(), new MsrBus(), new NoInterrupts(), _clock, new ExitCounters());
        _cpu = new Vcpu(board, Rng.FromSeed(1));
        if (translates) _cpu.UseTranslator(warmth: 1);
        for (ulong page = 0; page < KernelEnd; page += CaseLayout.PageSize) Map(Kernel + page, page, Present | Writable);
        for (int page = 0; page < 2; page++)
        {
            ulong offset = (ulong)page * CaseLayout.PageSize;
            Map(CaseLayout.Code + offset, FrameOf(CodeFrames, page), Present | User);
            Map(CaseLayout.Data + offset, FrameOf(DataFrames, page), Present | User | Writable | NoExecute);
            _memory.Write(FrameOf(CodeFrames, page), Enumerable.Repeat(CaseLayout.Filler, CaseLayout.PageSize).ToArray());
        }
        Map(CaseLayout.ReadOnlyData, FrameOf(DataFrames, 2), Present | User | NoExecute);
        _memory.Write(FrameOf(DataFrames, 2), readOnlyPage);
        WriteTables();
        Start();
    }

    /// <summary>Blocks translated so far.</summary>
    public ulong TranslatedBlocks => _cpu.EngineCounters.TranslatedBlocks;

    CpuState* State => _cpu.State;

    /// <summary>Runs one case: what goes in becomes what comes out.</summary>
    public void Run(CpuImage* image)
    {
        var code = new ReadOnlySpan<byte>(image->Code, CpuImage.CodeLength);
        WriteCode(image->CodeAddress, code);
        WriteData(image);
        Load(image);
        ulong end = _clock.Now + MaxCounts;
        StopReason reason;
        do reason = _cpu.Run(end - _clock.Now);
        while (reason == StopReason.Device);
        Store(image, reason);
        Span<byte> filler = stackalloc byte[CpuImage.CodeLength];
        filler.Fill(CaseLayout.Filler);
        WriteCode(image->CodeAddress, filler);
    }

    public void Dispose()
    {
        _cpu.Dispose();
        _memory.Dispose();
        _pool.Dispose();
    }

    void Load(CpuImage* image)
    {
        CpuState* s = State;
        for (int i = 0; i < 16; i++) s->Gpr[i] = image->Gpr[i];
        X87.RestoreExtended(ref s->X87, new ReadOnlySpan<byte>(image->Extended, 512), isWide: true);
        s->Mxcsr = *(uint*)(image->Extended + 24);
        new ReadOnlySpan<byte>(image->Extended + 160, 256).CopyTo(new Span<byte>(s->Xmm, 256));
        foreach (int segment in (ReadOnlySpan<int>)[Segment.Ds, Segment.Es, Segment.Fs, Segment.Gs]) SetData(segment, image->Selectors[segment]);
        s->SegmentBases[Segment.Fs] = image->FsBase;
        s->SegmentBases[Segment.Gs] = image->GsBase;

        ReadOnlySpan<ulong> frame =
            [image->Rip, image->Selectors[Segment.Cs], image->Flags, image->Gpr[Gpr.Rsp], image->Selectors[Segment.Ss]];
        for (int i = 0; i < FrameWords; i++) _memory.Write64(KernelStackTop - 8 * (ulong)(FrameWords - i), frame[i]);
        s->Gpr[Gpr.Rsp] = Kernel + KernelStackTop - 8 * FrameWords;
        s->Rip = Kernel + ReturnCode;
        s->IsHalted = 0;
        s->InterruptShadow = 0;
        s->TrapPending = 0;
    }

    void Store(CpuImage* image, StopReason reason)
    {
        CpuState* s = State;
        ulong handler = (s->Rip - 1 - Kernel - Handlers) / HandlerSize;
        bool isLost = reason != StopReason.Halted || handler >= Ending.Lost;
        ulong vector = isLost ? Ending.Lost : handler;
        image->Vector = vector == SystemCallVector ? Ending.SystemCall : vector;
        (image->Error, image->Address) = (0, 0);
        (image->Rip, image->Flags) = (s->Rip, _cpu.RflagsValue);
        ulong rsp = s->Gpr[Gpr.Rsp];
        var (cs, ss) = (image->Selectors[Segment.Cs], image->Selectors[Segment.Ss]);   // a system call comes back to them
        if (vector == Ending.SystemCall) (image->Rip, image->Flags) = (s->Gpr[Gpr.Rcx], s->Gpr[Gpr.R11]);
        else if (!isLost)
        {
            // The stack began at its top: a sixth word is an error code.
            ulong words = (Kernel + KernelStackTop - rsp) / 8;
            if (words > FrameWords) image->Error = _memory.Read64(rsp - Kernel);
            ulong frame = KernelStackTop - 8 * FrameWords;
            (image->Rip, image->Flags) = (_memory.Read64(frame), _memory.Read64(frame + 16));
            rsp = _memory.Read64(frame + 24);
            (cs, ss) = ((ushort)_memory.Read64(frame + 8), (ushort)_memory.Read64(frame + 32));
        }
        if (vector == Vector.PageFault) image->Address = s->Cr2;
        for (int i = 0; i < 16; i++) image->Gpr[i] = s->Gpr[i];
        image->Gpr[Gpr.Rsp] = rsp;
        for (int i = 0; i < CpuState.SegmentCount; i++) image->Selectors[i] = s->SegmentSelectors[i];
        (image->Selectors[Segment.Cs], image->Selectors[Segment.Ss]) = (cs, ss);
        (image->FsBase, image->GsBase) = (s->SegmentBases[Segment.Fs], s->SegmentBases[Segment.Gs]);
        X87.SaveExtended(s->X87, new Span<byte>(image->Extended, 512), isWide: true);
        *(uint*)(image->Extended + 24) = s->Mxcsr;
        new ReadOnlySpan<byte>(s->Xmm, 256).CopyTo(new Span<byte>(image->Extended + 160, 256));
        for (int page = 0; page < 2; page++)
            _memory.Read(FrameOf(DataFrames, page), new Span<byte>(image->Memory + page * CaseLayout.PageSize, CaseLayout.PageSize));
        if (isLost) Start();
    }

    void SetData(int segment, ushort selector)
    {
        CpuState* s = State;
        bool isNull = (selector & ~3) == 0;
        s->SegmentSelectors[segment] = selector;
        s->SegmentBases[segment] = 0;
        s->SegmentLimits[segment] = isNull ? 0 : uint.MaxValue;
        s->SegmentRights[segment] = isNull ? (ushort)0 : (ushort)0xC0F3;
    }

    void WriteCode(ulong address, ReadOnlySpan<byte> code)
    {
        var offset = (int)(address - CaseLayout.Code);
        int first = Math.Min(code.Length, Math.Max(0, CaseLayout.PageSize - offset));
        if (first > 0) _memory.Write(FrameOf(CodeFrames, 0) + (ulong)offset, code[..first]);
        int second = offset + first - CaseLayout.PageSize;
        if (first < code.Length) _memory.Write(FrameOf(CodeFrames, 1) + (ulong)second, code[first..]);
    }

    void WriteData(CpuImage* image)
    {
        for (int page = 0; page < 2; page++)
            _memory.Write(FrameOf(DataFrames, page), new ReadOnlySpan<byte>(image->Memory + page * CaseLayout.PageSize, CaseLayout.PageSize));
    }

    // Neighbours are not neighbours in physical memory, so that an access across pages must be taken apart.
    static ulong FrameOf(ulong region, int page) => region + (ulong)page * 3 * CaseLayout.PageSize;

    void Start()
    {
        _cpu.Start(isLong: true, Kernel + ReturnCode, Root, Kernel + Gdt, 0x7F, KernelCode, KernelData);
        CpuState* s = State;
        (s->IdtBase, s->IdtLimit) = (Kernel + Idt, 0xFFF);
        (s->TssSelector, s->TssBase, s->TssLimit, s->TssRights) = (TaskState, Kernel + Tss, 103, 0x8B);
        s->Cr0 |= Cr0.WriteProtect | Cr0.MonitorCoprocessor | Cr0.AlignmentMask;
        s->Cr4 |= Cr4.FxSave | Cr4.SimdExceptions | Cr4.FsGsBase | Cr4.UserModeInstructionPrevention | Cr4.XSave;
        s->Xcr0 = 3;
        s->Efer |= Efer.SystemCall | Efer.NoExecute;
        s->Star = (ulong)KernelCode << 32 | (ulong)CaseLayout.Code32 << 48;
        s->Lstar = s->Cstar = Kernel + Handlers + HandlerSize * Ending.SystemCall;
        s->SyscallMask = Rflags.Trap | Rflags.Interrupt | Rflags.Direction | Rflags.NestedTask | Rflags.AlignmentCheck;
        (s->SysenterCs, s->SysenterRsp, s->SysenterRip) = (KernelCode, Kernel + KernelStackTop, s->Lstar);
        _cpu.Refresh();
    }

    void WriteTables()
    {
        // Null, null, kernel code and data, user code of 32 bits, data, user code of 64 bits, null, task.
        ulong[] descriptors =
            [0, 0x00CF_9B00_0000_FFFF, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x00CF_FB00_0000_FFFF, 0x00CF_F300_0000_FFFF,
                0x00AF_FB00_0000_FFFF, 0, 103 | Tss << 16 | 0x8BUL << 40 | (Kernel & 0xFF00_0000) << 32, Kernel >> 32];
        for (int i = 0; i < descriptors.Length; i++) _memory.Write64(Gdt + 8 * (ulong)i, descriptors[i]);
        for (ulong vector = 0; vector < Ending.Lost; vector++)
        {
            ulong target = Handlers + HandlerSize * vector;
            _memory.Write(target, [0xF4]);
            if (vector > byte.MaxValue) continue;
            bool isOpen = vector is >= FirstOpenVector and <= LastOpenVector or SystemCallVector;
            ulong rights = isOpen ? 0xEEUL : 0x8E;
            _memory.Write64(Idt + 16 * vector, target & 0xFFFF | (ulong)KernelCode << 16 | rights << 40 | target >> 16 << 48);
            _memory.Write64(Idt + 16 * vector + 8, Kernel >> 32);
        }
        _memory.Write64(Tss + 4, Kernel + KernelStackTop);
        _memory.Write(Tss + 102, [104, 0]);   // no permission map
        _memory.Write(ReturnCode, [0x48, 0xCF]);   // IRETQ
    }

    void Map(ulong linear, ulong physical, ulong bits)
    {
        ulong table = Root;
        for (int level = 4; level > 1; level--)
        {
            ulong address = table + 8 * (linear >> 12 + 9 * (level - 1) & 0x1FF);
            ulong entry = _memory.Read64(address);
            if ((entry & Present) == 0)
            {
                _memory.Write64(address, entry = _nextTable | Present | Writable | User);
                _nextTable += CaseLayout.PageSize;
            }
            table = entry & 0xFF_FFFF_F000;
        }
        _memory.Write64(table + 8 * (linear >> 12 & 0x1FF), physical | bits);
    }

    sealed class NoInterrupts : IInterruptSource
    {
        public bool IsRequested => false;
        public byte Priority { get; set; }
        public byte Acknowledge() => 0;
    }
}
