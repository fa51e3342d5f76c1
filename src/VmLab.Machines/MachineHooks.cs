using VmLab.X86;

namespace VmLab.Machines;

/// <summary>Sees each count of a machine: an instruction, an iteration of a repetition, or a delivery.</summary>
public interface ITracer
{
    /// <summary>The machine is about to take a count.</summary>
    void Before();

    /// <summary>The machine has taken it.</summary>
    void After();
}

/// <summary>
/// Where somebody outside looks at a running machine: breakpoints, watches, steps, a trace. The guest cannot tell: counts,
/// times and hashes are those of a run without them.
/// </summary>
/// <remarks>
/// What is called when a hook is met runs on the machine's thread, with the machine's state exact, and says whether <see
/// cref="Machine.RunUntil"/> is to return there; the next call goes on. Hooks are set and taken away between runs, or by what
/// a hook calls.
/// </remarks>
public sealed class MachineHooks
{
    readonly Vcpu _cpu;
    readonly List<Breakpoint> _breakpoints = [];
    readonly List<WatchHook> _watches = [];
    ulong _holdAt = ulong.MaxValue, _callAt = ulong.MaxValue;
    Action _called = () => { };

    internal MachineHooks(Vcpu cpu) => _cpu = cpu;

    /// <summary>A hook held the machine in the last run: it stands short of the time that it was to reach.</summary>
    public bool IsHeld { get; private set; }

    /// <summary>Is shown every count while set; the machine runs at some tenth of its speed.</summary>
    public ITracer? Tracer { get; set; }

    /// <summary>Stops before the instruction at a linear address, in whatever address space.</summary>
    /// <param name="met">Whether to hold the machine there.</param>
    /// <returns>Takes the breakpoint away when disposed.</returns>
    public IDisposable BreakAt(ulong linear, Func<bool> met)
    {
        var breakpoint = new Breakpoint(this, linear, met);
        _breakpoints.Add(breakpoint);
        _cpu.AddBreakpoint(linear);
        return breakpoint;
    }

    /// <summary>Stops behind each instruction or delivery that touches a range of memory; see <see cref="Vcpu.AddWatch"/>.</summary>
    /// <param name="met">Whether to hold the machine there.</param>
    /// <returns>Takes the watch away when disposed.</returns>
    public IDisposable Watch(Watch watch, Func<WatchHit, bool> met)
    {
        var hook = new WatchHook(this, watch with { }, met);
        _watches.Add(hook);
        _cpu.AddWatch(hook.Watch);
        return hook;
    }

    /// <summary>Holds the machine when it has taken so many counts more.</summary>
    public void HoldAfter(ulong counts) => _holdAt = _cpu.Retired + counts;

    /// <summary>Calls, with the machine held by nobody, when it has taken so many counts more; it takes the place of the last such call.</summary>
    public void CallAfter(ulong counts, Action met) => (_callAt, _called) = (_cpu.Retired + counts, met);

    /// <summary>The machine is held no more, and nothing waits for a later count.</summary>
    internal void Reset() => (IsHeld, _holdAt, _callAt) = (false, ulong.MaxValue, ulong.MaxValue);

    internal void Release() => IsHeld = false;

    internal StopReason Run(ulong counts)
    {
        ulong next = Math.Min(_holdAt, _callAt);
        if (next != ulong.MaxValue) counts = Math.Min(counts, next - _cpu.Retired);
        StopReason reason = Tracer is { } tracer ? RunTraced(tracer) : _cpu.Run(counts);
        if (reason == StopReason.Breakpoint) MeetBreakpoints();
        if (reason == StopReason.Watch) MeetWatches();
        if (_cpu.Retired == _holdAt)
        {
            _holdAt = ulong.MaxValue;
            IsHeld = true;
        }
        if (_cpu.Retired == _callAt)
        {
            _callAt = ulong.MaxValue;
            _called();
        }
        return reason;
    }

    StopReason RunTraced(ITracer tracer)
    {
        ulong before = _cpu.Retired;
        tracer.Before();
        StopReason reason = _cpu.Run(1);
        if (_cpu.Retired != before) tracer.After();
        return reason;
    }

    void MeetBreakpoints()
    {
        ulong linear = _cpu.LinearRip;
        foreach (Breakpoint breakpoint in _breakpoints.FindAll(breakpoint => breakpoint.Linear == linear))
            IsHeld |= breakpoint.Met();
    }

    void MeetWatches()
    {
        WatchHit[] hits = [.. _cpu.WatchHits];
        foreach (WatchHit hit in hits)
            foreach (WatchHook hook in _watches.FindAll(hook => ReferenceEquals(hook.Watch, hit.Watch)))
                IsHeld |= hook.Met(hit);
    }

    sealed class Breakpoint(MachineHooks hooks, ulong linear, Func<bool> met) : IDisposable
    {
        public ulong Linear => linear;
        public Func<bool> Met => met;

        public void Dispose()
        {
            if (hooks._breakpoints.Remove(this)) hooks._cpu.RemoveBreakpoint(linear);
        }
    }

    sealed class WatchHook(MachineHooks hooks, Watch watch, Func<WatchHit, bool> met) : IDisposable
    {
        public Watch Watch => watch;
        public Func<WatchHit, bool> Met => met;

        public void Dispose()
        {
            if (hooks._watches.Remove(this)) hooks._cpu.RemoveWatch(watch);
        }
    }
}
