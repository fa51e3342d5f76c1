using System.Collections.Immutable;
using System.Text;
using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.Guests;
using VmLab.Introspection;
using VmLab.Machines;
using VmLab.Machines.Gdb;
using VmLab.Running;

namespace VmLab.Tests;

/// <summary>A guest that does what a test says, when it says; it boots no processor.</summary>
sealed record ScriptedGuest(Action<ScriptedMachine> Script, Readiness? When = null) : Guest, IBootable
{
    public override Readiness Readiness => When ?? Readiness.PoweredOn;

    public override Task<IBootable> PrepareAsync(IProgress<string> progress, CancellationToken cancellation) =>
        Task.FromResult<IBootable>(this);

    public BootEntry Load(GuestMemory memory, BootContext context) => default;
}

/// <summary>
/// Stands in for the PC in tests of the lab itself: acts of given machine times, and a seeded stream to act by.
/// </summary>
sealed class ScriptedMachine : IMachine
{
    readonly SortedDictionary<(ulong Time, int Order), Action> _acts = [];
    readonly StateHash _history = new();
    Action<byte> _console = _ => { };
    Action<byte> _channel = _ => { };
    readonly SortedDictionary<ulong, Action<ReadOnlyMemory<byte>>?> _cards = [];
    int _order;

    ScriptedMachine(MachineConfig config)
    {
        Random = Rng.FromSeed(config.Seed);
        ((ScriptedGuest)config.Guest).Script(this);
    }

    public Rng Random;

    public ulong Now { get; private set; }
    public MachineStatus Status { get; private set; }
    public ulong Retired => Now;
    public EngineCounters EngineCounters { get; } = new();
    public ExitCounters Exits { get; } = new();
    public Machine Pc => throw new NotSupportedException("A scripted machine has no processor.");
    public bool IsHeld => false;
    public ulong Rip => Now;
    public ulong Rflags => 2;
    public StringBuilder Typed { get; } = new();
    public Action<string> OnTyped { get; set; } = _ => { };
    public Action<byte[]> OnAsked { get; set; } = _ => { };
    public int Thread { get; private set; }
    public byte[] Memory { get; } = new byte[64];

    public static IMachine PowerOn(MachineConfig config, FramePool pool, MachineMoment? moment) => new ScriptedMachine(config);

    public void At(TimeSpan time, Action act) => At((ulong)time.TotalNanoseconds, act);

    public void At(ulong nanoseconds, Action act) => _acts[(nanoseconds, _order++)] = act;

    public void Prints(string text)
    {
        foreach (byte value in Encoding.UTF8.GetBytes(text)) _console(value);
        _history.Add(Now).Add(text);
    }

    public void PrintsBytes(params byte[] bytes) => Array.ForEach(bytes, _console);

    public void Answers(ReadOnlySpan<byte> frame)
    {
        foreach (byte value in frame) _channel(value);
    }

    public void Stops(MachineStatus status) => Status = status;

    public void Connect(Action<byte> console, Action<byte> channel) => (_console, _channel) = (console, channel);

    public void ObserveDisks(Action<string, DiskRequest> requested, Action<string, string> affected) { }

    /// <summary>Called with each frame that arrives.</summary>
    public Action<byte[]> OnFrame { get; set; } = _ => { };

    public bool IsLinkUp { get; private set; } = true;

    /// <summary>Sends a frame from its first network card.</summary>
    public void Sends(byte[] frame) => _cards.First().Value?.Invoke(frame);

    public void Plug(MacAddress card, Action<ReadOnlyMemory<byte>>? sent) => _cards[card.Bits] = sent;

    public void ReseedDisks(Rng random)
    {
    }

    public void SetLink(MacAddress card, bool isUp) => IsLinkUp = isUp;

    public void Receive(MacAddress card, ReadOnlySpan<byte> frame)
    {
        _history.Add(Now).Add(card.Bits).Add(frame);
        OnFrame(frame.ToArray());
    }

    public void SendToConsole(ReadOnlySpan<byte> bytes)
    {
        string text = Encoding.UTF8.GetString(bytes);
        Typed.Append(text);
        _history.Add(Now).Add(text);
        OnTyped(text);
    }

    public ulong Register(int number) => (ulong)number;

    public void SendToChannel(ReadOnlySpan<byte> bytes)
    {
        _history.Add(Now).Add(bytes);
        OnAsked(bytes.ToArray());
    }

    public void ReadMemory(ulong physical, Span<byte> bytes) => Memory.AsSpan((int)physical, bytes.Length).CopyTo(bytes);

    public void Serve(GdbServer gdb) => throw new NotSupportedException("A scripted machine has no processor.");

    public void ShareMemory(EqualPages pages) { }

    public KernelSymbols? ReadSymbols(KernelSymbols? before) => null;

    public ulong AsleepUntil => _acts.Count == 0 ? ulong.MaxValue : Math.Max(_acts.Keys.First().Time, Now);

    public void RunUntil(ulong time)
    {
        Thread = Environment.CurrentManagedThreadId;
        while (Status == MachineStatus.Running && _acts.Count > 0 && _acts.Keys.First() is var next && next.Time <= time)
        {
            Now = next.Time;
            _acts.Remove(next, out Action? act);
            act!();
        }
        if (Status == MachineStatus.Running) Now = time;
    }

    public void PowerOff() => Status = MachineStatus.PoweredOff;

    public ImmutableArray<DeviceSpec> Devices => [];

    public ulong StateHash() => new StateHash().Add(_history.Value).Add(Now).Value;

    public MachineMoment Snapshot() => throw new NotSupportedException("A script has no moments.");

    public void Restore(MachineMoment moment) => throw new NotSupportedException("A script has no moments.");

    public void Dispose() { }
}
