using VmLab.Core;

namespace VmLab.Machines;

/// <summary>Runs a machine, and every so many counts holds it against another of the same configuration on another engine.</summary>
/// <remarks>
/// The reference begins each step as the subject stood then, so that what comes from outside between two runs is the same for both.
/// What comes within one is not: a step that <see cref="Machine.Interrupt"/> ended, as a fault at a disk's request does, is not
/// compared. All that a state hash covers is; of RAM, the pages that either has written.
/// </remarks>
/// <param name="reference">Of the subject's pool; it is disposed of with this.</param>
/// <param name="step">Counts from one comparison to the next, at least 1; the end of each run has one, too.</param>
public sealed class Lockstep(Machine subject, Machine reference, ulong step = Lockstep.UsualStep) : IDisposable
{
    public const ulong UsualStep = 1_000_000;

    /// <summary>Holds a machine against the interpreter.</summary>
    public static Lockstep WithInterpreter(Machine subject, FramePool pool, ulong step = UsualStep)
    {
        using MachineMoment moment = subject.Snapshot();
        return new(subject, new Machine(subject.Config with { Engine = Engine.Interpreter }, pool, moment), step);
    }

    /// <summary>Comparisons so far.</summary>
    public ulong Comparisons { get; private set; }

    /// <inheritdoc cref="Machine.RunUntil"/>
    /// <exception cref="EnginesDifferException">The machines differ. The subject stands where they begin to.</exception>
    public void RunUntil(ulong time)
    {
        ulong stop;
        do
        {
            using MachineMoment start = subject.Snapshot();
            stop = Math.Min(time, subject.Now + step);
            subject.RunUntil(stop);
            if (subject.IsInterrupted) return;
            ulong end = subject.Hooks.IsHeld ? subject.Now : stop;
            reference.Restore(start);
            reference.IsThrottled = subject.IsThrottled;
            reference.RunUntil(end);
            Comparisons++;
            if (!AreSame()) throw Find(start, end);
        }
        while (subject.Now == stop && stop < time && subject.Status == MachineStatus.Running);
    }

    public void Dispose() => reference.Dispose();

    bool AreSame() =>
        subject.ChipHash() == reference.ChipHash() && subject.Memory.Ram.FirstDifference(reference.Memory.Ram) is null;

    /// <summary>Finds the instant at which the machines part, in a step at whose end they differ.</summary>
    EnginesDifferException Find(MachineMoment start, ulong end)
    {
        ulong same = start.State.Now, different = end;
        if (!DifferAt(start, end)) return new(same, end, new EngineDifference(subject, reference).Unrepeated(same, end));
        while (different - same > 1)
        {
            ulong middle = same + (different - same) / 2;
            if (DifferAt(start, middle)) different = middle;
            else same = middle;
        }
        return new(same, different, new EngineDifference(subject, reference).Report(start, different));
    }

    bool DifferAt(MachineMoment start, ulong time)
    {
        foreach (Machine machine in new[] { subject, reference })
        {
            machine.Restore(start);
            do machine.RunUntil(time);
            while (machine.Hooks.IsHeld && machine.Now < time);
        }
        return !AreSame();
    }
}
