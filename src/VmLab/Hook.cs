using VmLab.Machines;

namespace VmLab;

/// <summary>A breakpoint or a watch on a machine: it counts what it meets, can be awaited, and lasts until disposed.</summary>
/// <remarks>
/// While somebody awaits it, or it has something to call, the machine stops at what it meets, exactly there; the other
/// machines go on to the end of the quantum, which is what <see cref="Lab.Now"/> shows then. The script runs, and the next
/// await goes on. The guest cannot tell: the run is that without the hook. It outlives a reset, at the same address.
/// </remarks>
/// <typeparam name="THit">What a hit tells.</typeparam>
public sealed class Hook<THit> : IHook, IDisposable
    where THit : struct
{
    readonly Vm _vm;
    readonly string _failure;
    readonly Action<THit>? _met;
    readonly Func<Machine, Func<THit, bool>, IDisposable> _arm;
    readonly List<Task<THit>> _waits = [];
    readonly List<THit> _unsettled = [];
    IDisposable? _armed;

    /// <param name="failure">Says what did not come, for the message of a limit.</param>
    internal Hook(Vm vm, string failure, Action<THit>? met, Func<Machine, Func<THit, bool>, IDisposable> arm)
    {
        _vm = vm;
        _failure = failure;
        _met = met;
        _arm = arm;
        vm.Add(this);
    }

    /// <summary>How often it was met.</summary>
    public int Hits { get; private set; }

    /// <summary>The last time that it was met.</summary>
    public THit? Last { get; private set; }

    /// <summary>Waits until it is met the next time, with the machine stopped there.</summary>
    /// <param name="within">Limit in guest time; the lab's own where it is <see langword="null"/>.</param>
    /// <exception cref="LimitReachedException">It was not met in time.</exception>
    /// <exception cref="MachineStoppedException">The machine stopped before.</exception>
    public Task<THit> Hit(TimeSpan? within = null, CancellationToken cancellation = default)
    {
        if (_armed is null) throw new LabException($"{_failure}, and will not: this hook was disposed.");
        int before = Hits;
        Task<THit> wait = _vm.Lab.Await(
            _vm.Lab.WaitFor<THit>(_failure, within, _vm, needsKernel: false, (out THit hit) =>
            {
                hit = Last.GetValueOrDefault();
                return Hits > before;
            }, isHook: true),
            cancellation);
        _waits.RemoveAll(other => other.IsCompleted);
        _waits.Add(wait);
        return wait;
    }

    /// <summary>Takes it away from the machine.</summary>
    public void Dispose()
    {
        _armed?.Dispose();
        _armed = null;
        _vm.Remove(this);
    }

    void IHook.Arm(Machine machine)
    {
        _unsettled.Clear();
        _armed = _arm(machine, Meet);
    }

    void IHook.Settle()
    {
        THit[] hits = [.. _unsettled];
        _unsettled.Clear();
        foreach (THit hit in hits) _met?.Invoke(hit);
    }

    // On the machine's thread, while the script waits.
    bool Meet(THit hit)
    {
        Hits++;
        Last = hit;
        if (_met is not null) _unsettled.Add(hit);
        return _met is not null || _waits.Exists(wait => !wait.IsCompleted);
    }
}

/// <summary>What a machine's <see cref="Hook{THit}"/> is to the lab.</summary>
interface IHook
{
    /// <summary>The machine was powered on.</summary>
    void Arm(Machine machine);

    /// <summary>The machine is held: calls what the script wants called.</summary>
    void Settle();
}
