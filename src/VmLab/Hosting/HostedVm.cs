using System.Collections.Concurrent;
using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Machines;
using VmLab.Machines.Migrating;
using VmLab.Migrating;
using VmLab.Running;

namespace VmLab.Hosting;

/// <summary>A machine that comes to this process, and runs here on a thread of its own, no faster than real time.</summary>
sealed class HostedVm : IArriving, IElsewhere, IDisposable
{
    const ulong Beat = 5_000_000;   // nanoseconds of guest time between looks at the world

    readonly HostServer _server;
    readonly MigrationOffer _offer;
    readonly AutoResetEvent _hasMail = new(false);
    readonly ManualResetEventSlim _isPrepared = new(), _mayRun = new(), _hasArrived = new();
    readonly ConcurrentDictionary<uint, byte[]> _arrivedPages = new();
    readonly ConcurrentQueue<Order> _orders = new();
    readonly Lock _starting = new();
    Thread? _thread;
    bool _isDisposed;
    Exception? _failure;
    volatile bool _isTaken, _isWhole, _isDiscarded, _isLost;
    GuestMemory? _memory;
    string? _loss;
    int _toCome, _printed;

    /// <summary>A command for the machine's thread, and what comes of it.</summary>
    sealed record Order(Host To, Migration Plan, TaskCompletionSource<MigrationReport> Done);

    public HostedVm(HostServer server, string session, MigrationOffer offer) => (_server, Session, _offer) = (server, session, offer);

    /// <summary>Of the connection that it comes by.</summary>
    public string Session { get; }

    /// <summary>Asks the source for a page.</summary>
    public required Action<uint> Want { get; init; }

    /// <summary>Ends the connection that it comes by, from whatever thread.</summary>
    public required Action HangUp { get; init; }

    public string Name => _offer.Name;

    public ByteSize Memory => _offer.Memory;

    public ulong Now => HostClock.Now;

    public FramePool Pool { get; } = new(HostMemory.Free());

    /// <summary>It runs here, or ran.</summary>
    public bool IsTaken => _isTaken;

    /// <summary>None of its pages is to come.</summary>
    public bool IsWhole => _isWhole;

    bool IElsewhere.IsLookedAt => false;

    public string? WhyRefused(MigrationOffer offer) => _server.WhyRefused(this);

    public void Prepare(MigrationOffer offer, MachineMoment moment, IReadOnlyList<uint> missing, ImmutableArray<byte> luggage)
    {
        Fleet fleet = FleetOf(offer);
        LabMoment state = TravellingVm.Unpack(luggage, moment);
        var start = new Moment("arrived", fleet, Pool, [new LateGuest(fleet.Machines[0].Guest!)], state);
        lock (_starting)
        {
            if (_isDisposed) throw new LabException("The host is being closed.");
            (_isDiscarded, _failure, _toCome) = (false, null, missing.Count);
            _isPrepared.Reset();
            _thread = new Thread(() => Live(start, missing)) { IsBackground = true, Name = $"runs {Name}" };
            _thread.Start();
        }
        _isPrepared.Wait();
        if (_failure is not null) throw new LabException($"It cannot run here: {_failure.Message}", _failure);
    }

    public void Discard()
    {
        lock (_starting) _isDiscarded = true;
        _mayRun.Set();
        _thread?.Join();
        _mayRun.Reset();
    }

    public void Run()
    {
        _server.Take(this);
        _mayRun.Set();
    }

    /// <summary>From now on it is here, and nowhere else.</summary>
    public void MarkTaken() => _isTaken = true;

    public void Fill(uint page, ReadOnlySpan<byte> bytes)
    {
        _arrivedPages[page] = bytes.ToArray();
        if (--_toCome == 0) _isWhole = true;
        _hasMail.Set();
    }

    public void Lose()
    {
        _isLost = true;
        _hasMail.Set();
    }

    public void Complete() => _isWhole = true;

    /// <summary>Nothing more comes of it.</summary>
    public void EndArrival() => _hasArrived.Set();

    /// <summary>Waits until nothing more comes of it, and sees to that where its connection has not ended by itself.</summary>
    /// <param name="milliseconds">How long that may take.</param>
    public void AwaitArrival(int milliseconds)
    {
        if (_hasArrived.Wait(milliseconds)) return;
        HangUp();
        _hasArrived.Wait();
    }

    // On the machine's thread: it waits as it would for its own memory.
    public void Fetch(uint page)
    {
        if (!_arrivedPages.ContainsKey(page)) Want(page);
        while (!_arrivedPages.ContainsKey(page))
        {
            if (_isLost) throw new LabException(_loss = $"{Name} is lost: page {page:x} of its memory never came.");
            _hasMail.WaitOne();
        }
        Take(page);
    }

    public uint FrameOf(uint page)
    {
        Fetch(page);
        return _memory!.FrameOf(page);
    }

    /// <summary>Has the machine migrate to another host, and waits for its report.</summary>
    public MigrationReport Migrate(Host to, Migration plan)
    {
        var order = new Order(to, plan, new TaskCompletionSource<MigrationReport>());
        _orders.Enqueue(order);
        _hasMail.Set();
        return order.Done.Task.GetAwaiter().GetResult();
    }

    public void Dispose()
    {
        lock (_starting) _isDisposed = true;
        if (!_mayRun.IsSet) Discard();
        else _isDiscarded = true;
        _hasMail.Set();
        _thread?.Join();
    }

    /// <exception cref="LabException">It is of no fleet that there could be.</exception>
    static Fleet FleetOf(MigrationOffer offer)
    {
        RecordReader reader = RecordReader.WithoutPages(offer.Luggage.AsMemory());
        var fleet = reader.Read<Fleet>();
        reader.End();
        bool fits = fleet.Machines is [{ Guest: not null } only] && fleet.Links.IsEmpty && GuestMemory.SizeOf(only.MemorySize) == offer.Memory;
        return fits ? fleet : throw new LabException("The machine that is offered is not that of its fleet.");
    }

    GuestMemory RamOf(Lab lab) => lab.Machines[0].Powered.Machine.Pc.Memory.Ram;

    void Live(Moment start, IReadOnlyList<uint> missing)
    {
        try
        {
            Pump.Run(() => Live(start, missing, new LabOptions { Threads = 1, Engine = _server.Engine }));
        }
        catch (Exception failure)
        {
            _failure = failure;
            if (_isPrepared.IsSet) _server.Tell(_loss ?? $"{Name} ended: {failure.Message}");
        }
        finally
        {
            _isPrepared.Set();
            if (IsTaken) _server.Remove(this);
            while (_orders.TryDequeue(out Order? order)) order.Done.SetException(new LabException($"{Name} runs here no more."));
        }
    }

    async Task Live(Moment start, IReadOnlyList<uint> missing, LabOptions options)
    {
        await using Lab lab = await Lab.StartAsync(start, options);
        Vm vm = lab.Machines[0];
        _printed = vm.Console.Text.Length;
        _memory = RamOf(lab);
        if (missing.Count > 0) _memory.Miss(missing, this);
        _isPrepared.Set();
        _mayRun.Wait();
        ulong labStart = lab.Nanoseconds, hostStart = HostClock.Now;
        while (!_isDiscarded && vm.HasPower)
        {
            await lab.RunFor(Lab.Time(Beat));
            TakeAll();
            Print(vm);
            while (_orders.TryDequeue(out Order? order)) await Obey(lab, order);
            ulong ahead = lab.Nanoseconds - labStart - Math.Min(HostClock.Now - hostStart, lab.Nanoseconds - labStart);
            if (ahead >= 1_000_000) _hasMail.WaitOne((int)(ahead / 1_000_000));
            if (_isLost && _memory.HasAbsent) throw new LabException(_loss = $"{Name} is lost: some of its pages never came.");
        }
        if (!_isDiscarded) _server.Tell($"{Name}: {vm.WhyStopped}");
    }

    static async Task Obey(Lab lab, Order order)
    {
        try
        {
            order.Done.SetResult(await lab.Migrate(new VmRef(lab.Machines[0].Name), order.To, order.Plan));
        }
        catch (LabException failure)
        {
            order.Done.SetException(failure);
        }
    }

    void Print(Vm vm)
    {
        string text = vm.Console.Text;
        int end = text.LastIndexOf('\n') + 1;
        if (end <= _printed || end > text.Length) return;
        foreach (string line in text[_printed..end].Split('\n', StringSplitOptions.RemoveEmptyEntries)) _server.Tell($"{Name} | {line}");
        _printed = end;
    }

    void TakeAll()
    {
        foreach (uint page in _arrivedPages.Keys) Take(page);
    }

    void Take(uint page)
    {
        if (_arrivedPages.TryRemove(page, out byte[]? bytes) && _memory!.IsAbsent(page)) _memory.Fill(page, bytes);
    }
}
