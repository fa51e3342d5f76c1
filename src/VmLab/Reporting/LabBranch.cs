using System.Collections.Immutable;
using VmLab.Machines;
using VmLab.Running;

namespace VmLab.Reporting;

/// <summary>A stretch of a lab's history in which guest time only went on; a restore begins the next.</summary>
sealed class LabBranch
{
    readonly ImmutableArray<MachineTrack> _machines;

    LabBranch(int number, ulong start, ImmutableArray<MachineTrack> machines) =>
        (Number, Start, End, _machines) = (number, start, start, machines);

    /// <summary>From 0, in the order of their beginnings.</summary>
    public int Number { get; }

    /// <summary>Name of the moment that it began with; <see langword="null"/> at power-on.</summary>
    public string? Moment { get; private init; }

    /// <summary>The branch in which that moment was taken, if it was this lab's.</summary>
    public int? Parent { get; private init; }

    /// <summary>Lab time, in nanoseconds.</summary>
    public ulong Start { get; }

    /// <inheritdoc cref="Start"/>
    public ulong End { get; set; }

    public IReadOnlyList<MachineTrack> Machines => _machines;

    public MachineTrack this[int machine] => _machines[machine];

    public static LabBranch FromPowerOn(int machines) =>
        new(0, 0, [.. Enumerable.Range(0, machines).Select(_ => new MachineTrack(MachinePhase.Off, new(default), new(0)))]);

    public static LabBranch From(Moment moment, int? parent, int number) => new(
        number, moment.State.Nanoseconds, [.. moment.State.Machines.Select(machine => Track(machine, moment.State.Nanoseconds))])
    {
        Moment = moment.Name,
        Parent = parent,
    };

    static MachineTrack Track(VmMoment machine, ulong time) =>
        new(PhaseOf(machine), new ConsoleTrack(machine.Console.Bytes), new LoadTrack(time))
        {
            Retired = machine.Powered.RetiredBefore,
        };

    static MachinePhase PhaseOf(VmMoment machine) =>
        machine.LastStatus != MachineStatus.Running ? MachinePhase.Off
        : machine.PausedAt is not null ? MachinePhase.Paused
        : machine.HasPanicked ? MachinePhase.Panicked
        : machine.Channel is { IsReady: false } ? MachinePhase.On
        : MachinePhase.Up;
}

/// <summary>What a machine is, as a lane of the report shows it.</summary>
enum MachinePhase { Off, On, Up, Paused, Panicked }

/// <summary>One machine in one branch.</summary>
/// <param name="First">What it was when the branch began.</param>
sealed record MachineTrack(MachinePhase First, ConsoleTrack Console, LoadTrack Load)
{
    /// <summary>Counts since power-on, as of the last sample.</summary>
    public ulong Retired { get; set; }
}
