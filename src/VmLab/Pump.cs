namespace VmLab;

/// <summary>
/// The one thread that a script and its labs share: it runs continuations in order, and labs in between.
/// </summary>
/// <remarks>
/// A lab advances while any of its operations is under way and the script waits. A script that waits for the host beside that (a
/// download, a process) finds the lab at a guest time that depends on the host: await the one before starting the other.
/// A lab advances only while one of its operations is awaited, and only here, so a script never sees a machine move
/// under it.
/// <see cref="Lab.RunAsync"/>, <c>[LabTest]</c> and the <c>vmlab</c> tool each bring a pump; others use
/// <see cref="Run(Func{Task}, LabOptions?)"/>.
/// </remarks>
public sealed class Pump : SynchronizationContext
{
    readonly Lock _lock = new();
    readonly Queue<(SendOrPostCallback Callback, object? State)> _posted = new();
    readonly ManualResetEventSlim _hasPosted = new();
    readonly List<Lab> _labs = [];
    readonly int _thread = Environment.CurrentManagedThreadId;
    readonly HashSet<string> _saved = [];
    int _turn;

    Pump(LabOptions options) => Options = options;

    /// <summary>The pump that the calling code runs on, or <see langword="null"/>.</summary>
    public static new Pump? Current => SynchronizationContext.Current as Pump;

    /// <summary>What labs started on this pump take where they are given nothing else.</summary>
    public LabOptions Options { get; }

    /// <summary>The labs started on this pump, closed ones included, first one first.</summary>
    public IReadOnlyList<Lab> Labs => _labs;

    internal bool IsHere => Environment.CurrentManagedThreadId == _thread;

    /// <summary>
    /// Runs a script, and every continuation of it, on the calling thread, and returns when it is done.
    /// </summary>
    /// <exception cref="LabException">The calling code runs on a pump already.</exception>
    public static void Run(Func<Task> script, LabOptions? options = null)
    {
        Pump pump = Open(options);
        try
        {
            pump.Drive(script);
        }
        finally
        {
            pump.Close();
        }
    }

    /// <summary>
    /// Opens a pump for the calling thread, to drive several scripts one after another; close it afterwards.
    /// </summary>
    /// <exception cref="LabException">The calling code runs on a pump already.</exception>
    public static Pump Open(LabOptions? options = null)
    {
        if (Current is not null)
            throw new LabException("This code runs on a lab's pump already: await the task here instead of opening another pump.");
        return new Pump(options ?? LabOptions.FromEnvironment());
    }

    /// <summary>Runs one script to its end on the thread that opened the pump; what it throws is thrown here.</summary>
    public void Drive(Func<Task> script)
    {
        RequireHere();
        SynchronizationContext? before = SynchronizationContext.Current;
        SetSynchronizationContext(this);
        try
        {
            Task task = script();
            while (!task.IsCompleted) Turn();
            for (int posted = _posted.Count; posted > 0 && TryRunPosted(); posted--) { }   // what the script left behind
            task.GetAwaiter().GetResult();
        }
        finally
        {
            SetSynchronizationContext(before);
        }
    }

    /// <summary>Closes every lab that is still open.</summary>
    public void Close()
    {
        foreach (Lab lab in _labs) lab.Close();
    }

    /// <summary>Where every lab stood: seed, guest time, last console lines; for the message of a failure.</summary>
    public string Report() => string.Join(Environment.NewLine, _labs.Select(lab => lab.Report()));

    public override void Post(SendOrPostCallback d, object? state)
    {
        lock (_lock)
        {
            _posted.Enqueue((d, state));
            _hasPosted.Set();
        }
    }

    public override void Send(SendOrPostCallback d, object? state)
    {
        if (IsHere)
        {
            d(state);
            return;
        }
        using var done = new ManualResetEventSlim();
        Post(_ => { d(state); done.Set(); }, null);
        done.Wait();
    }

    public override SynchronizationContext CreateCopy() => this;

    internal void Add(Lab lab) => _labs.Add(lab);

    /// <summary>The script has saved a moment there: what it loads from there is its own.</summary>
    internal void NoteSaved(string path) => _saved.Add(path);

    internal bool HasSaved(string path) => _saved.Contains(path);

    internal void RequireHere()
    {
        if (!IsHere)
            throw new LabException(
                "A lab is used off its pump's thread. Use it only from the script that started it, and leave out ConfigureAwait(false).");
    }

    void Turn()
    {
        if (TryRunPosted()) return;
        if (NextLab() is { } lab) lab.Advance();
        else _hasPosted.Wait();   // the script waits for the world outside its labs
    }

    bool TryRunPosted()
    {
        (SendOrPostCallback Callback, object? State) next;
        lock (_lock)
        {
            if (!_posted.TryDequeue(out next))
            {
                _hasPosted.Reset();
                return false;
            }
        }
        next.Callback(next.State);
        return true;
    }

    // Labs with something awaited take turns of a quantum each.
    Lab? NextLab()
    {
        for (int i = 0; i < _labs.Count; i++)
        {
            Lab lab = _labs[(_turn + i) % _labs.Count];
            if (!lab.IsAwaited) continue;
            _turn = (_turn + i + 1) % _labs.Count;
            return lab;
        }
        return null;
    }
}
