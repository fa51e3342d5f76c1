using System.Collections.Concurrent;
using System.Collections.Immutable;
using VmLab.Machines;
using VmLab.Machines.Migrating;
using VmLab.Running;

namespace VmLab.Migrating;

/// <summary>A machine on its way from this process to a host that is another, in real time.</summary>
/// <remarks>One thread sends, one receives; what comes is handled on the lab's own, between quanta. The lab runs no faster than real
/// time meanwhile, and looks at what came every few milliseconds.</remarks>
sealed class RemoteDeparture : IDeparting, IDisposable
{
    const ulong Beat = 1_000_000, ThrottleWindow = 10 * Beat;   // nanoseconds of guest time

    const int AskAgain = 50, LastWords = 1000;   // milliseconds

    readonly Lock _lock = new();
    readonly Lab _lab;
    readonly Host _host;
    readonly Migration _plan;
    readonly HostConnection _connection;
    readonly MigrationSource _source;
    readonly ConcurrentQueue<MigrationMessage> _received = new();
    readonly AutoResetEvent _hasReceived = new(false), _maySend = new(true);
    readonly Thread _sender, _receiver;
    readonly ulong _labStart, _hostStart;
    readonly int _powerOns;
    volatile string? _lost;
    volatile bool _isDone;
    VmMoment? _vmMoment;
    ulong _throttle;

    /// <exception cref="LabException">There is no such host.</exception>
    public RemoteDeparture(Lab lab, Vm vm, Host host, Migration plan)
    {
        (_lab, Vm, _host, _plan) = (lab, vm, host, plan);
        (_labStart, _hostStart, _powerOns) = (lab.Nanoseconds, HostClock.Now, vm.PowerOns);
        _connection = HostConnection.Connect(host);
        _source = new MigrationSource(this, plan);
        _sender = new Thread(Send) { IsBackground = true, Name = $"sends {vm.Name}" };
        _receiver = new Thread(Receive) { IsBackground = true, Name = $"hears of {vm.Name}" };
        _sender.Start();
        _receiver.Start();
    }

    public Vm Vm { get; }

    public bool IsOver => _source.IsOver;

    /// <summary>Lab time at which it is to be looked after.</summary>
    public ulong NextAt => _lab.Nanoseconds + Beat;

    public ulong Now => HostClock.Now;

    public bool SharesClock => false;

    public MigrationOffer Offer => MigrationOffer.Of(Vm.Config, Vm.Powered.Machine.Pc.Memory.Ram.Size,
        [.. MomentFile.Define(TravellingVm.FleetOf(_lab, Vm))]);

    public ImmutableArray<byte> Luggage => TravellingVm.Pack(_lab, _vmMoment!);

    public MigrationReport Report() => _source.Report("here", _host.ToString());

    public MachineMoment Snapshot()
    {
        _vmMoment = Vm.Snapshot();
        return _vmMoment.Powered.Machine;
    }

    public void Freeze() => Vm.Freeze();

    public void Thaw() => Vm.Thaw();

    public void Throttle(int percent) => _throttle = (ulong)percent;

    /// <summary>Does what there is to do between two quanta, and waits where the lab is ahead of real time.</summary>
    public void Work()
    {
        do
        {
            lock (_lock) Handle();
            _maySend.Set();
        }
        while (!IsOver && IsAhead(out int milliseconds) && (_hasReceived.WaitOne(milliseconds) || !_lab.HasOthers(Vm)));
        Vm.Powered.Machine.Pc.IsThrottled = _lab.Nanoseconds % ThrottleWindow < ThrottleWindow / 100 * _throttle;
        if (!IsOver) return;
        _isDone = true;
        _maySend.Set();
        if (_source.HasLeft) Vm.Depart(_host.ToString());
    }

    /// <inheritdoc cref="MigrationRun.Cancel"/>
    public void Cancel()
    {
        lock (_lock)
            if (!_source.HasLeft) _source.Break("it was cancelled");
        Work();
    }

    public void Dispose()
    {
        lock (_lock) _source.Break("the lab went on without it");
        _isDone = true;
        _maySend.Set();
        _sender.Join(LastWords);
        _connection.Dispose();   // which ends a sender that nobody reads from
        _sender.Join();
        _receiver.Join();
        _source.Dispose();
        _hasReceived.Dispose();
        _maySend.Dispose();
    }

    void Handle()
    {
        try
        {
            if (!_source.HasLeft && (Vm.PowerOns != _powerOns || !Vm.HasPower)) _source.Break($"{Vm.Name} was switched off or reset");
            while (_received.TryDequeue(out MigrationMessage message)) _source.Receive(message);
            _source.Tick();
            if (_lost is { } lost) _source.Break(lost);
        }
        catch (LabException failure)
        {
            _source.Break(failure.Message);
        }
        if (_source is { IsInDoubt: true, IsBroken: true }) Settle();
    }

    /// <summary>Whether the lab is to wait for real time, or the machine stands still and nothing else could go on.</summary>
    bool IsAhead(out int milliseconds)
    {
        ulong lab = _lab.Nanoseconds - _labStart, host = HostClock.Now - _hostStart;
        bool standsStill = Vm.IsFrozen && !_lab.HasOthers(Vm);
        milliseconds = standsStill ? 100 : (int)Math.Min(1000, lab > host ? (lab - host) / 1_000_000 : 0);
        return milliseconds > 0;
    }

    /// <summary>Asks the destination whether it took the machine. One that is no more has not got it; one that does not answer may have it:
    /// then the machine stands still here, until somebody who knows lets it go on.</summary>
    void Settle()
    {
        ulong until = HostClock.Now + (ulong)_plan.Patience.TotalNanoseconds;
        while (true)
        {
            try
            {
                using HostConnection connection = HostConnection.Connect(_host);
                connection.Send(HostCommand.Settle(_connection.Session));
                HostAnswer answer = HostAnswer.Of(connection.Receive());
                _source.Settle(answer.HasTaken ? Now : null, answer.IsWhole);
                return;
            }
            catch (LabException failure)
            {
                if (HostClock.Now < until)
                {
                    _hasReceived.WaitOne(AskAgain);
                    continue;
                }
                if (failure is not HostUnreachableException) Vm.Pause();
                _source.Settle(null, isWhole: false);
                return;
            }
        }
    }

    void Send()
    {
        try
        {
            while (!_isDone)
            {
                bool hasNext;
                MigrationMessage message;
                lock (_lock) hasNext = _source.TryNext(out message);
                if (!hasNext)
                {
                    _maySend.WaitOne();
                    continue;
                }
                _connection.Send(message);
                lock (_lock) _source.Hear();
            }
            while (_source.TryNext(out MigrationMessage last)) _connection.Send(last);   // that there will be no migration
        }
        catch (LabException failure)
        {
            Lose(failure.Message);
        }
    }

    void Receive()
    {
        try
        {
            while (true)
            {
                MigrationMessage message = _connection.Receive();
                _received.Enqueue(message with { Body = message.Body.ToArray() });
                _hasReceived.Set();
            }
        }
        catch (Exception failure) when (failure is LabException or ObjectDisposedException)
        {
            Lose(failure.Message);
        }
    }

    void Lose(string reason)
    {
        _lost ??= reason;
        if (!_isDone) _hasReceived.Set();
    }
}
