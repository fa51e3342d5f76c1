using System.Runtime.CompilerServices;

namespace VmLab.Reporting;

/// <summary>What a report tells of a lab besides its events: consoles and load over guest time, and the branches that restores made.</summary>
/// <remarks>It is on the script's side: no guest sees it, no moment has it, and a restore takes nothing of it back.</remarks>
sealed class LabRecord
{
    /// <summary>Past this, the oldest is forgotten.</summary>
    public const int MostBranches = 256, MostMigrations = 256;

    readonly Lab _lab;
    readonly List<LabBranch> _branches = [];
    readonly List<MigrationReport> _migrations = [];
    readonly ConditionalWeakTable<Moment, LabBranch> _takenIn = [];
    IReadOnlyList<MachineFacts>? _last;

    public LabRecord(Lab lab)
    {
        _lab = lab;
        _branches.Add(LabBranch.FromPowerOn(lab.Fleet.Machines.Length));
    }

    /// <summary>The branch that the lab is in.</summary>
    public LabBranch Now => _branches[^1];

    public IReadOnlyList<LabBranch> Branches => _branches;

    /// <summary>What came of the machines' moves from host to host.</summary>
    public IReadOnlyList<MigrationReport> Migrations => _migrations;

    /// <summary>The machines as they are, or as they were when the lab was closed.</summary>
    public IReadOnlyList<MachineFacts> Machines => _last ?? [.. _lab.Machines.Select(MachineFacts.Of)];

    /// <summary>The lab is what it was at a moment.</summary>
    public void Begin(Moment moment)
    {
        int? parent = _takenIn.TryGetValue(moment, out LabBranch? takenIn) ? takenIn.Number : null;
        EndBranch();
        bool isFirst = _lab.Timeline.Count == 0;
        if (isFirst) _branches.Clear();
        if (_branches.Count == MostBranches) _branches.RemoveAt(0);
        _branches.Add(LabBranch.From(moment, parent, isFirst ? 0 : Now.Number + 1));
    }

    /// <summary>A moment was taken of the lab.</summary>
    public void Note(Moment moment) => _takenIn.Add(moment, Now);

    /// <summary>A migration has ended.</summary>
    public void Note(MigrationReport migration)
    {
        if (_migrations.Count == MostMigrations) _migrations.RemoveAt(0);
        _migrations.Add(migration);
    }

    /// <summary>A quantum has ended.</summary>
    public void Sample()
    {
        LabBranch branch = Now;
        branch.End = _lab.Nanoseconds;
        foreach (Vm machine in _lab.Machines)
        {
            MachineTrack track = branch[machine.Index];
            ulong retired = machine.Retired;
            track.Load.Add(branch.End, retired >= track.Retired ? retired - track.Retired : retired);   // less: a new power-on
            track.Retired = retired;
        }
    }

    /// <summary>The lab is being closed: its machines are not there any more afterwards.</summary>
    public void Close()
    {
        EndBranch();
        _last = [.. _lab.Machines.Select(MachineFacts.Of)];
    }

    void EndBranch()
    {
        foreach (MachineTrack machine in Now.Machines) machine.Load.Close();
    }
}
