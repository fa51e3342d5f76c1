using System.Globalization;
using VmLab.Tracing;

namespace VmLab;

/// <summary>How a lab is run. But for the seed, nothing here shows in what a guest or a script sees.</summary>
public sealed record LabOptions
{
    /// <summary>Host threads that run machines, 1 to 256; 0 takes one a host processor.</summary>
    public int Threads { get; init; }

    /// <summary>Takes the place of the fleet's own seed.</summary>
    public ulong? Seed { get; init; }

    /// <summary>
    /// A file that gets a line a machine, <c>NAME TIME HASH</c>, at every 100,000,000 counts of machine time.
    /// </summary>
    public string? Hashes { get; init; }

    /// <summary>What runs the instructions of machines that do not say it themselves.</summary>
    public Engine Engine { get; init; }

    /// <summary>
    /// Counts, at most, after which each machine is held against the interpreter; <see langword="null"/>: never. A machine that differs
    /// fails the lab with both states and the code that parted them; see <see cref="Machines.Lockstep"/>.
    /// </summary>
    public ulong? Lockstep { get; init; }

    /// <summary>How long, in guest time, an await may take that states no limit itself.</summary>
    public TimeSpan Limit { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>
    /// Host time that one quantum may take before the watchdog tells <see cref="Observer"/>, and the lab fails with an <see
    /// cref="InfrastructureException"/> at the quantum's end; zero sets no limit.
    /// </summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>Runs the machines of each quantum in an order drawn from this seed: a test shows that it changes nothing.</summary>
    internal ulong? ShuffleSeed { get; init; }

    /// <summary>
    /// Which machine of the first lab waits for gdb before its first instruction; <see langword="null"/> for none.
    /// </summary>
    public GdbOption? Gdb { get; init; }

    /// <summary>Ends every await of every lab that has these options.</summary>
    public CancellationToken Stop { get; init; }

    /// <summary>What is written down of a machine's instructions; <see langword="null"/> for nothing.</summary>
    public TraceOptions? Trace { get; init; }

    /// <summary>Guest time at which every lab ends, with a <see cref="RunEndedException"/>; <see langword="null"/> for none.</summary>
    public TimeSpan? Until { get; init; }

    /// <summary>A folder of moments to look in first, as a bundle has one.</summary>
    public string? Moments { get; init; }

    /// <summary>The command that runs the same again, for reports; <see langword="null"/> where nobody knows one.</summary>
    public string? Replay { get; init; }

    /// <summary>Is told of labs and their events; it must not touch them.</summary>
    public ILabObserver? Observer { get; init; }

    /// <summary>
    /// Options from <c>VMLAB_THREADS</c>, <c>VMLAB_SEED</c>, <c>VMLAB_HASHES</c>, <c>VMLAB_ENGINE</c>, <c>VMLAB_UNTIL</c> (guest
    /// time in units of 100 nanoseconds) and <c>VMLAB_MOMENTS</c>; the defaults where they are not set.
    /// </summary>
    /// <exception cref="LabException">A variable is no number, or no engine.</exception>
    public static LabOptions FromEnvironment() => new()
    {
        Threads = (int)(Number("VMLAB_THREADS", 256) ?? 0),
        Seed = Number("VMLAB_SEED", ulong.MaxValue),
        Hashes = Environment.GetEnvironmentVariable("VMLAB_HASHES"),
        Engine = ChosenEngine(),
        Until = Number("VMLAB_UNTIL", long.MaxValue) is { } ticks ? TimeSpan.FromTicks((long)ticks) : null,
        Moments = Environment.GetEnvironmentVariable("VMLAB_MOMENTS"),
    };

    /// <summary>The variables by which <see cref="FromEnvironment"/> has these options in another process.</summary>
    public IReadOnlyDictionary<string, string?> ToEnvironment() => new Dictionary<string, string?>
    {
        ["VMLAB_THREADS"] = Threads.ToString(CultureInfo.InvariantCulture),
        ["VMLAB_SEED"] = Seed?.ToString(CultureInfo.InvariantCulture),
        ["VMLAB_HASHES"] = Hashes,
        ["VMLAB_ENGINE"] = Engine.ToString(),
        ["VMLAB_UNTIL"] = Until?.Ticks.ToString(CultureInfo.InvariantCulture),
        ["VMLAB_MOMENTS"] = Moments,
    };

    static Engine ChosenEngine()
    {
        if (Environment.GetEnvironmentVariable("VMLAB_ENGINE") is not { Length: > 0 } text) return Engine.Auto;
        return Enum.TryParse(text, ignoreCase: true, out Engine engine) && Enum.IsDefined(engine)
            ? engine
            : throw new LabException($"The environment variable VMLAB_ENGINE is \"{text}\"; it must be auto, interpreter or translator.");
    }

    static ulong? Number(string name, ulong most)
    {
        if (Environment.GetEnvironmentVariable(name) is not { Length: > 0 } text) return null;
        return ulong.TryParse(text, CultureInfo.InvariantCulture, out ulong value) && value <= most
            ? value
            : throw new LabException($"The environment variable {name} is \"{text}\"; it must be a number from 0 to {most}.");
    }
}

/// <summary>Which machine gdb is to debug, and where.</summary>
/// <param name="Machine">Its name; <see langword="null"/> for the first one.</param>
/// <param name="Port">Of 127.0.0.1; 0 takes any that is free.</param>
public sealed record GdbOption(string? Machine, int Port)
{
    /// <summary>Reads <c>PORT</c> or <c>MACHINE:PORT</c>.</summary>
    /// <exception cref="LabException">It is neither.</exception>
    public static GdbOption Parse(string text)
    {
        int colon = text.LastIndexOf(':');
        bool isPort = int.TryParse(text[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out int port) && port <= ushort.MaxValue;
        return isPort && colon != 0
            ? new GdbOption(colon < 0 ? null : text[..colon], port)
            : throw new LabException($"--gdb {text}: give a port from 0 to 65535, or a machine and a port, as in alice:1234.");
    }
}

/// <summary>
/// Watches labs from the host's side, on the pump's thread; preparation and the watchdog call from their own.
/// </summary>
public interface ILabObserver
{
    void Started(Lab lab);

    /// <summary>What comes before the first quantum takes time: a guest's download and unpacking, a wait for gdb.</summary>
    void Preparing(Lab lab, string what);

    void Happened(Lab lab, TimelineEvent what);

    /// <summary>A quantum has ended, or several in which every machine slept. Called thousands of times a second: mind the cost.</summary>
    void Advanced(Lab lab);

    /// <summary>
    /// A quantum has taken longer than <see cref="LabOptions.Patience"/>: trouble of the host, not of the guest.
    /// </summary>
    void Stalled(Lab lab, string report);

    void Closed(Lab lab);
}
