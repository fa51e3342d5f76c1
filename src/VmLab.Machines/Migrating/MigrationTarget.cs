namespace VmLab.Machines.Migrating;

/// <summary>The side of a migration that the machine comes to.</summary>
/// <remarks>As <see cref="MigrationSource"/>, it knows no wire and no thread. What it takes may be anybody's.</remarks>
sealed class MigrationTarget(IArriving host) : IDisposable
{
    enum Step { Waiting, Copying, Prepared, Filling, Over }

    readonly Queue<MigrationMessage> _outgoing = [];
    readonly HashSet<uint> _missing = [];
    Step _step = Step.Waiting;
    MigrationOffer? _offer;
    MachineCopy? _copy;

    public bool IsOver => _step == Step.Over;

    /// <summary>When the machine came to run here; <see langword="null"/> where it did not.</summary>
    public ulong? TakenAt { get; private set; }

    /// <summary>It runs here, and none of its pages is missing.</summary>
    public bool IsWhole => TakenAt is not null && _missing.Count == 0;

    public bool TryNext(out MigrationMessage message) => _outgoing.TryDequeue(out message);

    /// <exception cref="LabException">The message does not belong here, or is damaged.</exception>
    public void Receive(MigrationMessage message)
    {
        switch (message.Kind, _step)
        {
            case (_, Step.Over): break;
            case (MigrationMessageKind.Offer, Step.Waiting): Consider(MigrationCodec.ReadRecord<MigrationOffer>(message.Body)); break;
            case (MigrationMessageKind.Pages, Step.Copying): PageBatch.Read(message.Body.Span, _copy!.Take); break;
            case (MigrationMessageKind.Pages, Step.Filling): PageBatch.Read(message.Body.Span, Fill); break;
            case (MigrationMessageKind.RoundEnd, Step.Copying): Send(MigrationMessageKind.RoundTaken, []); break;
            case (MigrationMessageKind.State, Step.Copying): Prepare(MigrationCodec.ReadRecord<MigrationState>(message.Body)); break;
            case (MigrationMessageKind.Back, Step.Prepared): Discard(); break;
            case (MigrationMessageKind.Back, Step.Copying): break;   // before all of the state was sent, or after it was too late
            case (MigrationMessageKind.Commit, Step.Prepared): Run(MigrationCodec.ReadNumber(message.Body)); break;
            case (MigrationMessageKind.Complete, Step.Filling): Complete(); break;
            case (MigrationMessageKind.Abandon, _): Break(); break;
            default: throw new MigrationException($"The source says {message.Kind}, which has no place here.");
        }
    }

    /// <summary>The machine touches a page that has not come.</summary>
    public void Want(uint page)
    {
        if (_missing.Contains(page)) Send(MigrationMessageKind.Wanted, MigrationCodec.Number(page));   // else it has come meanwhile
    }

    /// <summary>There is nothing more to come.</summary>
    public void Break()
    {
        if (IsOver) return;
        if (_step == Step.Filling) host.Lose();
        else if (_step == Step.Prepared) host.Discard();
        _step = Step.Over;
    }

    public void Dispose() => _copy?.Dispose();

    void Consider(MigrationOffer offer)
    {
        string? reason = offer.WhyForeign ?? host.WhyRefused(offer);
        try
        {
            if (reason is null) _copy = new MachineCopy(host.Pool, offer);
        }
        catch (Exception refusal) when (refusal is LabException or ArgumentException or OverflowException or OutOfMemoryException)
        {
            reason = refusal.Message;
        }
        if (reason is not null)
        {
            Refuse(reason);
            return;
        }
        (_offer, _step) = (offer, Step.Copying);
        Send(MigrationMessageKind.Accepted, []);
    }

    void Prepare(MigrationState state)
    {
        _missing.Clear();
        foreach (PageRun run in state.Missing)
            for (uint i = 0; i < run.Count; i++) Miss(run.First + (ulong)i);
        MachineMoment moment = _copy!.Assemble(state);
        try
        {
            host.Prepare(_offer!, moment, [.. _missing], state.Luggage);
        }
        catch (LabException refusal)
        {
            moment.Dispose();
            Refuse(refusal.Message);
            return;
        }
        _step = Step.Prepared;
        Send(MigrationMessageKind.Ready, MigrationCodec.Number((ulong)state.Attempt));
    }

    void Miss(ulong page)
    {
        if (!_copy!.IsMemory(page) || !_missing.Add((uint)page)) throw new MigrationException($"Page {page:x} cannot be missing.");
    }

    void Run(ulong deadline)
    {
        if (deadline > 0 && host.Now > deadline)
        {
            Discard();
            Send(MigrationMessageKind.Expired, []);
            return;
        }
        TakenAt = host.Now;
        host.Run();
        _copy!.Dispose();
        Send(MigrationMessageKind.Taken, MigrationCodec.Number(host.Now));
        if (_missing.Count > 0) _step = Step.Filling;
        else
        {
            _step = Step.Over;
            host.Complete();
        }
    }

    void Fill(int space, uint page, ReadOnlySpan<byte> bytes)
    {
        if (space != 0 || !_missing.Remove(page)) throw new MigrationException($"Page {page:x} of space {space} does not come now.");
        host.Fill(page, bytes);
    }

    void Complete()
    {
        if (_missing.Count > 0) throw new MigrationException($"{_missing.Count} pages have not come.");
        host.Complete();
        _step = Step.Over;
        Send(MigrationMessageKind.Whole, []);
    }

    void Discard()
    {
        host.Discard();
        _step = Step.Copying;
    }

    void Refuse(string reason)
    {
        Send(MigrationMessageKind.Refused, MigrationCodec.Text(reason));
        _step = Step.Over;
    }

    void Send(MigrationMessageKind kind, byte[] body) => _outgoing.Enqueue(new MigrationMessage(kind, body));
}
