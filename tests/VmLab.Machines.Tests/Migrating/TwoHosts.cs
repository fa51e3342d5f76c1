using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.Machines.Migrating;

namespace VmLab.Machines.Tests.Migrating;

/// <summary>A real machine that moves between two hosts by the protocol alone: messages go over as they are, in steps of one clock.</summary>
sealed class TwoHosts : IDeparting, IArriving, IElsewhere, IDisposable
{
    const ulong Step = 200_000, Start = 1_000_000;
    const int MostSteps = 3000, MostAtOnce = 4;

    public static readonly MachineConfig Config =
        new("m", 4.MiB, Programs.Ticker, 1) { Devices = [new DiskSpec("data", 1.MiB)] };

    readonly Queue<MigrationMessage> _forth = [], _back = [];
    readonly MigrationSource _source;
    readonly MigrationTarget _target;
    readonly Machine _here;
    Machine? _there;
    MachineMoment? _arrived;
    byte _written;
    bool _isThere, _isInRun, _isHealed;
    ulong _cutAt = ulong.MaxValue;

    public TwoHosts(FramePool pool, Migration plan)
    {
        Pool = pool;
        _here = new Machine(Config, pool);
        _here.RunUntil(Start);
        Now = Start;
        _source = new MigrationSource(this, plan);
        _target = new MigrationTarget(this);
    }

    /// <summary>From which message on, of both ways together and counted from 0, the wire is cut.</summary>
    public int CutFrom { get; init; } = int.MaxValue;

    /// <summary>How long it is cut, in nanoseconds.</summary>
    public ulong CutFor { get; init; } = ulong.MaxValue;

    /// <summary>Which ways are cut.</summary>
    public bool CutsForth { get; init; } = true;

    /// <inheritdoc cref="CutsForth"/>
    public bool CutsBack { get; init; } = true;

    /// <summary>Sees each message before it goes over, and may put others in its place.</summary>
    public Func<bool, MigrationMessage, IEnumerable<MigrationMessage>> Meddle { get; init; } = (_, message) => [message];

    public int Sent { get; private set; }

    public bool RunsHere { get; private set; } = true;

    public bool RunsThere => _isThere;

    /// <summary>The machine that stayed, or was left behind.</summary>
    public Machine Here => _here;

    /// <summary>The machine that runs.</summary>
    public Machine Running => _isThere ? _there! : _here;

    public ulong Now { get; private set; }

    public bool SharesClock => true;

    public FramePool Pool { get; }

    public MigrationOffer Offer => MigrationOffer.Of(Config, Config.Memory, []);

    public ImmutableArray<byte> Luggage => [];

    public bool IsLookedAt => !_isInRun;

    /// <summary>Goes on until the source says that it is over; what was found out last is told to the destination.</summary>
    public MigrationReport Migrate()
    {
        for (int step = 0; !_source.IsOver; step++)
        {
            Assert.That(step, Is.LessThan(MostSteps), "it does not come to an end");
            Pass();
            Assert.That(RunsHere && RunsThere, Is.False, "both run");
        }
        if (_source.Outcome != MigrationOutcome.Completed) _target.Break();
        return _source.Report("a", "b");
    }

    /// <summary>Lets time go by for the machine that runs.</summary>
    public void RunOn(ulong time)
    {
        if (RunsHere || RunsThere) Run(Running, time);
    }

    public MachineMoment Snapshot()
    {
        WriteDisk(_here.Drive("data"), ++_written);
        return _here.Snapshot();
    }

    public void Freeze() => RunsHere = false;

    public void Thaw() => RunsHere = true;

    public void Throttle(int percent) => _here.IsThrottled = percent > 0;

    public string? WhyRefused(MigrationOffer offer) => offer.Memory > Config.Memory ? "there is no room" : null;

    public void Prepare(MigrationOffer offer, MachineMoment moment, IReadOnlyList<uint> missing, ImmutableArray<byte> luggage)
    {
        _arrived = moment;
        _there = new Machine(Config, Pool, moment);
        if (missing.Count > 0) _there.Memory.Ram.Miss(missing, this);
    }

    public void Discard()
    {
        _there?.Dispose();
        _arrived?.Dispose();
        (_there, _arrived) = (null, null);
    }

    public void Run()
    {
        _isThere = true;
        _arrived!.Dispose();
    }

    public void Fill(uint page, ReadOnlySpan<byte> bytes)
    {
        if (_there!.Memory.Ram.IsAbsent(page)) _there.Memory.Ram.Fill(page, bytes);
    }

    public void Lose() => _isThere = false;

    public void Complete()
    {
    }

    public void Fetch(uint page)
    {
        _there!.Memory.Ram.Fill(page, _source.Memory.PageAt(page));
        if (_isInRun) _target.Want(page);
    }

    public uint FrameOf(uint page) => _source.Memory.FrameOf(page);

    public void Dispose()
    {
        _source.Dispose();
        _target.Dispose();
        Discard();
        _here.Dispose();
    }

    void Pass()
    {
        Now += Step;
        RunOn(Step);
        _isHealed |= _cutAt != ulong.MaxValue && CutFor != ulong.MaxValue && Now >= _cutAt + CutFor;
        try
        {
            Deliver(_back, CutsBack, message => _source.Receive(message));
            Deliver(_forth, CutsForth, _target.Receive);
            _source.Tick();
        }
        catch (LabException failure)
        {
            _source.Break(failure.Message);
        }
        if (_source is { IsInDoubt: true, IsBroken: true }) _source.Settle(_target.TakenAt, _target.IsWhole);
        for (int i = 0; i < MostAtOnce && _source.TryNext(out MigrationMessage message); i++)
            Send(_forth, true, message with { Body = message.Body.ToArray() });
        while (_target.TryNext(out MigrationMessage message)) Send(_back, false, message);
    }

    void Send(Queue<MigrationMessage> way, bool isForth, MigrationMessage message)
    {
        if (Sent++ == CutFrom) _cutAt = Now;
        foreach (MigrationMessage other in Meddle(isForth, message)) way.Enqueue(other);
    }

    void Deliver(Queue<MigrationMessage> way, bool isCut, Action<MigrationMessage> receive)
    {
        if (isCut && _cutAt != ulong.MaxValue && !_isHealed) return;
        if (way.Count > 0) _source.Hear();
        while (way.TryDequeue(out MigrationMessage message)) receive(message);
    }

    void Run(Machine machine, ulong time)
    {
        _isInRun = true;
        machine.RunUntil(machine.Now + time);
        _isInRun = false;
    }

    // As a guest would: some flushed, some not, and zeros over what was written before.
    static void WriteDisk(DiskDrive drive, byte value)
    {
        const ulong SectorsPerChunk = 8;
        byte[] sectors = new byte[16 * IBlockBackend.SectorSize];
        Array.Fill(sectors, value);
        drive.Write(value % 32UL * SectorsPerChunk, sectors);
        if (value % 2 == 0) drive.Flush();
        drive.Zero((value + 31UL) % 32 * SectorsPerChunk, SectorsPerChunk);
    }
}
