using System.Collections.Immutable;
using System.Globalization;
using VmLab.Core;

namespace VmLab.Machines.Migrating;

/// <summary>The side of a migration that has the machine at first: says what is to be sent, and takes what comes back.</summary>
/// <remarks>It knows no wire and no thread: whoever carries the messages asks for the next one while there is room, and calls
/// <see cref="Tick"/> as time goes by. All calls but <see cref="TryNext"/> come while the machine does not run.</remarks>
sealed class MigrationSource : IDisposable
{
    enum Step { Offering, Copying, Draining, Stopping, Stating, InDoubt, Serving, Completing, Over }

    readonly IDeparting _machine;
    readonly Migration _plan;
    readonly MigrationOffer _offer;
    readonly Convergence _convergence;
    readonly Queue<MigrationMessage> _outgoing = [];
    readonly ImmutableArray<MigrationRound>.Builder _rounds = ImmutableArray.CreateBuilder<MigrationRound>();
    readonly PageBatch _batch = new();
    readonly SortedSet<uint> _missing = [];   // of post-copy: what the destination has not got
    readonly Queue<uint> _wanted = [];        // of those, what the machine waits for
    readonly ulong _startedAt;
    Step _step = Step.Offering;
    MachineMoment? _moment;   // that the last round is of
    MachineMoment? _before;   // that the round before is of, while the destination may not get all of the last
    CopyRound? _round;
    ulong _roundAt, _drainedAt, _heardAt, _frozenAt, _frozenFor, _overAt;
    long _roundBytes, _bytes;
    uint _servedNext;
    int _attempt, _demanded, _roundPages, _roundThrottle;
    bool _isFrozen;

    public MigrationSource(IDeparting machine, Migration plan)
    {
        (_machine, _plan) = (machine, plan);
        _offer = machine.Offer;
        _convergence = new Convergence(plan);
        _startedAt = _heardAt = _roundAt = machine.Now;
        Send(MigrationMessageKind.Offer, MigrationCodec.Record(_offer));
    }

    public bool IsOver => _step == Step.Over;

    /// <summary>The destination was told to run the machine, or was sent the last of it, and has not said whether it does or has it.</summary>
    public bool IsInDoubt => _step is Step.InDoubt or Step.Completing;

    /// <summary>The machine runs at the destination, or did.</summary>
    public bool HasLeft { get; private set; }

    public MigrationOutcome Outcome { get; private set; }

    /// <summary>Why it was not completed, or what broke while it was in doubt.</summary>
    public string Reason { get; private set; } = "";

    /// <summary>When <see cref="Tick"/> has something to do next.</summary>
    public ulong NextAt => IsOver || IsInDoubt && IsBroken ? ulong.MaxValue : Math.Min(PatientUntil, HasDeadline ? Deadline : ulong.MaxValue);

    /// <summary>The destination was lost while it was in doubt: <see cref="Settle"/> is to be called.</summary>
    public bool IsBroken => Reason.Length > 0;

    bool HasDeadline => _step is Step.Stopping or Step.Stating && _plan.Mode != MigrationMode.StopAndCopy;

    ulong Deadline => _frozenAt + Nanoseconds(_plan.Downtime);

    ulong PatientUntil => _heardAt + Nanoseconds(_plan.Patience);

    bool IsPostCopy => _missing.Count > 0;

    /// <summary>The next message, if there is one to be sent now; its body is good until the one after it is asked for.</summary>
    public bool TryNext(out MigrationMessage message)
    {
        if (_outgoing.Count == 0) Produce();
        if (!_outgoing.TryDequeue(out message)) return false;
        _roundBytes += message.Body.Length;
        _bytes += message.Body.Length;
        return true;
    }

    /// <summary>The destination is there: it has taken in something of what was sent.</summary>
    public void Hear() => _heardAt = _machine.Now;

    /// <exception cref="MigrationException">The message does not belong here.</exception>
    public void Receive(MigrationMessage message)
    {
        Hear();
        switch (message.Kind, _step)
        {
            case (_, Step.Over): break;
            case (MigrationMessageKind.Accepted, Step.Offering): Begin(); break;
            case (MigrationMessageKind.Refused, < Step.InDoubt): End(MigrationOutcome.Refused, MigrationCodec.ReadText(message.Body)); break;
            case (MigrationMessageKind.RoundTaken, Step.Draining): EndRound(); break;
            case (MigrationMessageKind.Ready, Step.Stating) when MigrationCodec.ReadNumber(message.Body) == (ulong)_attempt: Commit(); break;
            case (MigrationMessageKind.Ready, < Step.InDoubt): break;   // of an attempt that took too long
            case (MigrationMessageKind.Taken, Step.InDoubt): Leave(MigrationCodec.ReadNumber(message.Body)); break;
            case (MigrationMessageKind.Expired, Step.InDoubt): Return(); break;
            case (MigrationMessageKind.Wanted, Step.Serving or Step.Completing): Serve(MigrationCodec.ReadNumber(message.Body)); break;
            case (MigrationMessageKind.Whole, Step.Completing): Complete(); break;
            default: throw new MigrationException($"The destination says {message.Kind}, which has no place here.");
        }
    }

    /// <summary>Time has gone by.</summary>
    public void Tick()
    {
        if (IsOver) return;
        if (HasDeadline && _machine.Now >= Deadline) GoBack();
        if (_machine.Now >= PatientUntil) Break(string.Create(CultureInfo.InvariantCulture,
            $"nothing came from the destination for {_plan.Patience.TotalSeconds:0.###} s"));
    }

    /// <summary>The destination cannot be reached any more, or the machine cannot go.</summary>
    public void Break(string reason)
    {
        if (IsOver || IsBroken) return;
        Reason = reason;
        if (IsInDoubt) return;
        Send(MigrationMessageKind.Abandon, MigrationCodec.Text(reason));
        End(HasLeft ? MigrationOutcome.Lost : MigrationOutcome.Failed, reason);
    }

    /// <summary>It was found out what the destination had of the machine before it was lost.</summary>
    /// <param name="takenAt">When it took it; <see langword="null"/> where it did not and never will.</param>
    /// <param name="isWhole">Whether none of its pages is missing there.</param>
    public void Settle(ulong? takenAt, bool isWhole)
    {
        string reason = Reason;
        Reason = "";
        if (!HasLeft && takenAt is { } at) Leave(at);
        if (IsOver) return;
        if (isWhole) Complete();
        else End(HasLeft ? MigrationOutcome.Lost : MigrationOutcome.Failed, reason);
    }

    /// <summary>What the machine's memory was when it went, for as long as this lives.</summary>
    public MemoryMoment Memory => _moment!.Memory;

    public MigrationReport Report(string from, string to) => new(
        _offer.Name, from, to, _plan.Mode, Outcome, Reason, Time(_overAt - _startedAt), Time(_frozenFor), _bytes, _demanded,
        _rounds.ToImmutable());

    public void Dispose()
    {
        _moment?.Dispose();
        _before?.Dispose();
    }

    void Begin()
    {
        _convergence.MeasureAnswer(_machine.Now - _startedAt);
        MachineMoment moment = _machine.Snapshot();
        if (_plan.Mode == MigrationMode.StopAndCopy) Stop(moment, Rest(moment));
        else StartRound(moment, Rest(moment));
    }

    /// <summary>What the destination has not got; of disks alone where memory comes later.</summary>
    CopyRound Rest(MachineMoment moment) => new(moment, [.. new[] { _before, _moment }.OfType<MachineMoment>()],
        withMemory: _plan.Mode != MigrationMode.PostCopy, _plan.Compresses);

    void StartRound(MachineMoment moment, CopyRound round)
    {
        Begin(moment, round, Step.Copying);
        ForgetBefore();
    }

    void Begin(MachineMoment moment, CopyRound round, Step step)
    {
        (_before, _moment, _round, _step) = (_moment, moment, round, step);
        (_roundAt, _roundPages, _roundBytes, _roundThrottle) = (_machine.Now, round.Pages, 0, _convergence.Throttle);
    }

    void ForgetBefore()
    {
        _before?.Dispose();
        _before = null;
    }

    /// <summary>All of a round has arrived: the machine stops if the rest fits into the downtime; else there is another round.</summary>
    void EndRound()
    {
        MachineMoment moment = _machine.Snapshot();
        CopyRound rest = Rest(moment);
        _convergence.MeasureAnswer(_machine.Now - _drainedAt);
        _convergence.Measure(_roundPages, _roundBytes, _machine.Now - _roundAt);
        NoteRound(rest.Pages);
        if (_convergence.StateBytes == 0) _convergence.StateBytes = StateOf(moment).Length;
        NextStep next = _convergence.Decide(rest.Pages);
        if (next == NextStep.SlowDown) _machine.Throttle(_convergence.Throttle);
        if (next is NextStep.Another or NextStep.SlowDown) StartRound(moment, rest);
        else if (next == NextStep.Stop) Stop(moment, rest);
        else if (_plan.Mode == MigrationMode.Auto) StopEarly(moment, rest);
        else Abandon(moment, rest.Pages);
    }

    void NoteRound(int dirtied) => _rounds.Add(new MigrationRound(
        _roundPages, _roundBytes, dirtied, Time(_roundAt - _startedAt), Time(_machine.Now - _roundAt), _roundThrottle));

    void Abandon(MachineMoment moment, int left)
    {
        moment.Dispose();
        string reason = string.Create(CultureInfo.InvariantCulture,
            $"after {_rounds.Count} rounds {left} pages are dirty again, which takes {_convergence.Estimate(left) / 1e6:0.0} ms to copy, not "
            + $"{_plan.Downtime.TotalMilliseconds:0.###}: allow more downtime, throttle the machine, or use post-copy");
        Send(MigrationMessageKind.Abandon, MigrationCodec.Text(reason));
        End(MigrationOutcome.NotConverged, reason);
    }

    /// <summary>Stops the machine, and leaves the pages that the destination has not got for later.</summary>
    void StopEarly(MachineMoment moment, CopyRound rest)
    {
        _missing.UnionWith(rest.Memory);
        Stop(moment, new CopyRound(moment, [_moment!], withMemory: false, _plan.Compresses));
    }

    void Stop(MachineMoment moment, CopyRound rest)
    {
        if (_plan.Mode == MigrationMode.PostCopy)
            _missing.UnionWith(new CopyRound(moment, [], withMemory: true, compresses: false).Memory);
        (_isFrozen, _frozenAt) = (true, _machine.Now);
        _machine.Freeze();
        _attempt++;
        Begin(moment, rest, Step.Stopping);
    }

    byte[] StateOf(MachineMoment moment) => MigrationCodec.Record(MigrationState.Of(_attempt, moment, _missing, _machine.Luggage));

    void Produce()
    {
        switch (_step)
        {
            case Step.Copying or Step.Stopping when _round!.Next(_batch) is { } pages:
                Send(MigrationMessageKind.Pages, pages);
                break;
            case Step.Copying:
                (_step, _drainedAt) = (Step.Draining, _machine.Now);
                Send(MigrationMessageKind.RoundEnd, default);
                break;
            case Step.Stopping:
                _step = Step.Stating;
                Send(MigrationMessageKind.State, StateOf(_moment!));
                if (!IsPostCopy) ForgetBefore();
                break;
            case Step.Serving when _wanted.TryDequeue(out uint page):
                SendPages([page]);
                _servedNext = page + 1;
                break;
            case Step.Serving when _missing.Count > 0:
                ServeNext();
                break;
            case Step.Serving:
                _step = Step.Completing;
                Send(MigrationMessageKind.Complete, default);
                break;
        }
    }

    /// <summary>The destination could run the machine. If there is time left, it may; from then on this side may not.</summary>
    void Commit()
    {
        if (_plan.Mode != MigrationMode.StopAndCopy && _machine.Now + _convergence.RoundTrip / 2 > Deadline)
        {
            GoBack();
            return;
        }
        bool isTimed = _machine.SharesClock && _plan.Mode != MigrationMode.StopAndCopy;
        Send(MigrationMessageKind.Commit, MigrationCodec.Number(isTimed ? Deadline : 0));
        _step = Step.InDoubt;
    }

    /// <summary>The machine stood still for too long: it runs here again, and is copied further.</summary>
    void GoBack()
    {
        Send(MigrationMessageKind.Back, default);
        Return();
    }

    void Return()
    {
        Thaw();
        NoteRound(dirtied: 0);
        MachineMoment moment = _machine.Snapshot();
        CopyRound rest = Rest(moment);
        ForgetBefore();
        _missing.Clear();
        if (_attempt < _plan.MostRounds) StartRound(moment, rest);
        else Abandon(moment, rest.Pages);
    }

    /// <summary>The destination runs the machine.</summary>
    void Leave(ulong takenAt)
    {
        HasLeft = true;
        _frozenFor = (_machine.SharesClock ? takenAt : _machine.Now) - _frozenAt;
        NoteRound(dirtied: 0);
        if (!IsPostCopy)
        {
            End(MigrationOutcome.Completed, "");
            return;
        }
        ForgetBefore();
        (_step, _round) = (Step.Serving, null);
        (_roundAt, _roundPages, _roundBytes) = (_machine.Now, 0, 0);
    }

    void Serve(ulong page)
    {
        _demanded++;
        if (page <= uint.MaxValue && _missing.Remove((uint)page)) _wanted.Enqueue((uint)page);   // else it is on its way
    }

    // What lies behind the page that was wanted last is likely to be wanted next.
    void ServeNext()
    {
        uint[] pages = [.. _missing.GetViewBetween(Math.Min(_servedNext, _missing.Max), uint.MaxValue).Take(PageBatch.MostPages)];
        _missing.ExceptWith(pages);
        _servedNext = _missing.Count > 0 && pages[^1] >= _missing.Max ? 0 : pages[^1] + 1;
        SendPages(pages);
    }

    void SendPages(uint[] pages)
    {
        _roundPages += pages.Length;
        Send(MigrationMessageKind.Pages, _batch.Write(0, pages, page => CopyRound.Read(_moment!, 0, page), _plan.Compresses));
    }

    void Complete()
    {
        NoteRound(dirtied: 0);
        End(MigrationOutcome.Completed, "");
    }

    void Thaw()
    {
        if (!_isFrozen) return;
        _isFrozen = false;
        _frozenFor = _machine.Now - _frozenAt;
        _machine.Thaw();
    }

    void End(MigrationOutcome outcome, string reason)
    {
        if (!HasLeft) Thaw();
        _machine.Throttle(0);
        (Outcome, Reason, _step, _overAt) = (outcome, reason, Step.Over, _machine.Now);
    }

    void Send(MigrationMessageKind kind, ReadOnlyMemory<byte> body) => _outgoing.Enqueue(new MigrationMessage(kind, body));

    static ulong Nanoseconds(TimeSpan time) => (ulong)time.Ticks * 100;

    static TimeSpan Time(ulong nanoseconds) => TimeSpan.FromTicks((long)(nanoseconds / 100));
}
