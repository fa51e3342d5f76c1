using System.Runtime.InteropServices;
using VmLab.Core;

namespace VmLab.X86;

/// <summary>Why a processor stopped running.</summary>
public enum StopReason
{
    /// <summary>The counts are used up, exactly.</summary>
    Budget,

    /// <summary>A device was called: deadlines and lines are to be read again.</summary>
    Device,

    /// <summary>HLT, and no interrupt is deliverable.</summary>
    Halted,

    /// <summary>A triple fault.</summary>
    Shutdown,

    /// <summary>A breakpoint is at RIP; the next run goes on with the instruction there.</summary>
    Breakpoint,

    /// <summary>The last instruction or delivery touched what a watch is on; see <see cref="Vcpu.WatchHits"/>.</summary>
    Watch,
}

/// <summary>What a processor is wired to.</summary>
/// <param name="Clock">The machine's clock: the processor publishes its exact time there before it calls a
/// device.</param>
public sealed record VcpuBoard(
    MemoryBus Memory, PortBus Ports, MsrBus Msrs, IInterruptSource Interrupts, VirtualClock Clock, ExitCounters Exits);

/// <summary>One x86-64 processor: state, TLB, decoded code, and the interpreter that runs it.</summary>
/// <remarks>
/// A count is an instruction retired, a REP iteration, or an exception or interrupt delivered, and takes 1 ns.
/// </remarks>
public sealed unsafe partial class Vcpu : IMemoryObserver, IDisposable
{
    readonly VcpuBoard _board;
    readonly GuestMemory _ram;
    readonly Tlb _tlb;
    readonly PageWalker _walker;
    readonly CodeCache _code;
    readonly CpuState* _s;
    Translator? _translator;
    GCHandle _self;
    ulong _run, _flushes;
    bool _isDisposed;

    public Vcpu(VcpuBoard board, Rng random)
    {
        _board = board;
        _ram = board.Memory.Ram;
        _s = (CpuState*)NativeMemory.AlignedAlloc((nuint)sizeof(CpuState), 64);
        new Span<byte>(_s, sizeof(CpuState)).Clear();
        _self = GCHandle.Alloc(this, GCHandleType.Weak);
        _s->Owner = GCHandle.ToIntPtr(_self);
        _s->Random = random;
        _tlb = new Tlb(_ram);
        _walker = new PageWalker(_ram, _tlb);
        _code = new CodeCache(_s);
        _builder = new BlockBuilder(_stops);
        _ram.Attach(this);
        Reset();
    }

    ~Vcpu() => Free();

    /// <summary>
    /// The state, for whoever sets up a machine or looks into it; engines own what lies behind Budget.
    /// </summary>
    public CpuState* State => _s;

    /// <summary>Counts since power-on: retired instructions, REP iterations and deliveries.</summary>
    public ulong Retired { get; private set; }

    internal static Vcpu Of(CpuState* s) => System.Runtime.CompilerServices.Unsafe.As<Vcpu>(GCHandle.FromIntPtr(s->Owner).Target!);

    /// <summary>Runs at most so many counts, and stops exactly there, or earlier with the reason.</summary>
    public StopReason Run(ulong counts)
    {
        ulong start = _board.Clock.Now;
        _s->Budget = (long)counts;
        _s->Held = 0;
        _s->Deadline = start + counts;
        _s->CheckInterrupts = 1;
        _s->Leave = Leave.Next;   // RIP may be another than where the last run ended
        _watchHits.Clear();
        LastDelivery = null;
        if (_passed.Time != start) _passed = s_none;
        _translator?.Bind();
        StopReason reason = Loop();
        Flags.SetArithmetic(_s, Flags.Arithmetic(_s));   // of all that mean the same, one: whichever engine made them
        ulong used = counts - (ulong)_s->Budget;
        Retired += used;
        _run += used;
        _board.Clock.Now = start + used;
        return reason;
    }

    public void RaiseNmi() => _s->NmiPending = 1;

    /// <summary>Has the guest told of an error of the hardware before its next instruction, whatever it holds back.</summary>
    /// <returns><see langword="false"/>: it wants to hear of none (CR4.MCE), and hardware would shut down.</returns>
    public bool TryRaiseMachineCheck()
    {
        if ((_s->Cr4 & Cr4.MachineCheck) == 0) return false;
        _s->MachineCheckPending = 1;
        return true;
    }

    /// <summary>Whether this host runs translated code: Linux on x86-64 does.</summary>
    public static bool CanTranslate => Translator.IsSupported;

    /// <summary>Has hot 64-bit code translated from now on, if the host can run it.</summary>
    /// <param name="warmth">Visits before a block is translated, at least 1.</param>
    public void UseTranslator(int warmth = Translator.Warmth)
    {
        if (_translator != null || !CanTranslate) return;
        DropCode();
        _translator = new Translator(_s, _code);
        _builder.Warmth = warmth;
    }

    /// <summary>What the engine has done so far.</summary>
    public EngineCounters EngineCounters => new()
    {
        TranslatedBlocks = _translator?.Count ?? 0,
        Code = new ByteSize((ulong)(_translator?.Size ?? 0)),
        Flushes = _flushes,
        Exits = [.. Enum.GetValues<EngineExit>().Select(reason => (reason, _s->EngineExits[(int)reason]))],
        Run = _run,
    };

    internal bool Translate(Block* block) => _translator!.Translate(block);

    internal void Narrow(Block* block) => _translator!.Narrow(block);

    /// <summary>Must be called after the state was changed from outside.</summary>
    public void Refresh()
    {
        RearmDebugRegisters();
        RearmStops();
        DropCode();
        _tlb.Flush();
        UpdateSpace();
    }

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    StopReason Loop()
    {
        CpuState* s = _s;
        while (true)
        {
            if (s->DeviceTouched != 0)
            {
                s->DeviceTouched = 0;
                return _watchHits.Count == 0 ? StopReason.Device : StopReason.Watch;
            }
            if (s->CheckInterrupts != 0 && s->InterruptShadow == 0 && s->TrapPending == 0)
            {
                s->CheckInterrupts = 0;
                if (s->Budget > 0 && TakeInterrupt())
                {
                    if (s->Leave == Leave.Shutdown) return StopReason.Shutdown;
                    Redirected();
                    continue;
                }
            }
            if (s->Budget <= 0) return StopReason.Budget;
            if (s->TrapPending != 0 && s->InterruptShadow != Shadow.Stack)
            {
                if (!DeliverDebugTrap()) return StopReason.Shutdown;
                continue;
            }
            if (s->IsHalted != 0) return StopReason.Halted;

            if (s->Leave != Leave.Link) s->Left = null;
            s->Leave = Leave.Next;
            bool isAlone = ((uint)s->InterruptShadow | s->HasCodeLimit | s->SystemFlags & (Rflags.Trap | Rflags.Resume)) != 0 && MustRunAlone();
            Block* block = isAlone ? null : FindBlock(0);
            if (!isAlone && block == null)
            {
                if (!DeliverFault()) return StopReason.Shutdown;
                continue;
            }
            if (block != null && s->Budget >= block->Count)
            {
                if (s->Left != null && Block.MayBeLinked(block)) s->Left->Link = block;
                s->Left = null;
                s->Budget -= block->Count;
                Op* op = Block.Ops(block);
                do op = op->Run(s, op);
                while (op != null);
                if (s->Leave <= Leave.Link) continue;
            }
            else s->Leave = Leave.Alone;

            if (s->Leave == Leave.Alone) RunAlone();
            switch (s->Leave)
            {
                case Leave.Fault or Leave.Trap:
                    if (!DeliverFault()) return StopReason.Shutdown;
                    break;
                case Leave.Check:
                    s->CheckInterrupts = 1;
                    break;
                case Leave.Halt:
                    Count(ExitReason.Halt);
                    s->IsHalted = 1;
                    s->CheckInterrupts = 1;
                    break;
                case Leave.Break:
                    if (_resumedAt == Now) s->SystemFlags |= Rflags.Resume;   // the instruction has not begun
                    return StopReason.Breakpoint;
                case Leave.Shutdown:
                    return StopReason.Shutdown;
                case Leave.Crash:
                    throw _translator!.Crash();
            }
        }
    }

    /// <summary>RIP is no longer what the last block led to.</summary>
    void Redirected()
    {
        _s->CheckInterrupts = 1;
        _s->Leave = Leave.Next;
        _s->Left = null;
    }

    /// <summary>Runs the one instruction at RIP, which may touch devices and code.</summary>
    void RunAlone()
    {
        CpuState* s = _s;
        bool isTrapping = (s->SystemFlags & Rflags.Trap) != 0;
        byte shadow = s->InterruptShadow;
        s->InterruptShadow = 0;   // it ends with this instruction, which may set it anew
        _hasSettledTrap = false;
        ulong rip = s->Rip;
        s->Leave = Leave.Next;
        Block* block = FindBlock(CodeKey.Single);
        if (block == null || s->HasCodeLimit != 0 && !IsInCode(block->Length - 1)) return;   // the fetch faulted, and Leave says so
        s->Held = s->Budget - 1;
        s->Budget = 0;
        s->IsSingle = 1;
        Op* op = Block.Ops(block);
        do op = op->Run(s, op);
        while (op != null);
        s->IsSingle = 0;
        s->Budget += s->Held;
        s->Held = 0;
        if (s->Leave == Leave.Link) s->Leave = Leave.Next;
        if (shadow != 0) s->CheckInterrupts = 1;
        if (s->Leave == Leave.Break) s->InterruptShadow = shadow;
        if (s->Leave is Leave.Fault or Leave.Break)   // the instruction has not been done
        {
            DropTouches();
            return;
        }
        SettleTouches(rip);
        // A handler runs without the trap, and a load of SS loses it.
        bool traps = isTrapping && !_hasSettledTrap && s->Leave != Leave.Trap && s->InterruptShadow != Shadow.Stack;
        if (traps) s->TrapPending |= Dr6.SingleStep;
    }

    /// <summary>Whether RFLAGS, a shadow or the limit of CS has the next instruction looked at by itself.</summary>
    bool MustRunAlone()
    {
        if ((_s->SystemFlags & Rflags.Resume) != 0)   // it ends with the instruction that begins now
        {
            _s->SystemFlags &= ~Rflags.Resume;
            _resumedAt = Now;
        }
        if (_s->InterruptShadow == Shadow.Stack) _shadowedAt = Now;
        return _s->InterruptShadow != 0 || _s->HasCodeLimit != 0 || (_s->SystemFlags & Rflags.Trap) != 0;
    }

    /// <summary>Machine time at an instruction boundary of a run, in nanoseconds.</summary>
    ulong Now => _s->Deadline - (ulong)(_s->Budget + _s->Held);

    internal void Count(ExitReason reason) => _board.Exits.Add(reason);

    /// <summary>Tells the clock the exact time before a device is called.</summary>
    internal void Publish(Op* op)
    {
        _board.Clock.Now = Exec.Now(_s, op);
        _s->DeviceTouched = 1;
    }

    /// <summary>As <see cref="Publish"/>, between blocks, where so many counts are taken for what is going on.</summary>
    void PublishBetween(long countsTaken)
    {
        _board.Clock.Now = _s->Deadline - (ulong)(_s->Budget + countsTaken);
        _s->DeviceTouched = 1;
    }

    void Free()
    {
        if (_isDisposed) return;
        _isDisposed = true;
        _tlb.Dispose();
        _translator?.Dispose();
        _code.Dispose();
        _builder.Dispose();
        _self.Free();
        NativeMemory.AlignedFree(_s);
    }
}
