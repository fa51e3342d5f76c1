namespace VmLab.Running;

/// <summary>What a script has scheduled, in the order of (time, entry).</summary>
sealed class Agenda
{
    readonly List<Entry> _entries = [];

    /// <summary>Lab time, in nanoseconds, of the next deed.</summary>
    public ulong Next => _entries.Count == 0 ? ulong.MaxValue : _entries.Min(entry => entry.At);

    public IDisposable Add(ulong at, ulong period, Action deed)
    {
        var entry = new Entry(this, at, period, deed);
        _entries.Add(entry);
        return entry;
    }

    /// <summary>Does what is due; a deed may add and end others.</summary>
    public void DoDue(ulong now)
    {
        Entry[] due = [.. _entries.Where(entry => entry.At <= now).OrderBy(entry => entry.At)];
        foreach (Entry entry in due)
        {
            if (!_entries.Contains(entry)) continue;
            if (entry.Period == 0) _entries.Remove(entry);
            else entry.At += entry.Period;
            entry.Deed();
        }
    }

    /// <summary>The lab's time went back: what comes again and again comes from there on, what came once is over.</summary>
    public void Rewind(ulong now)
    {
        foreach (Entry entry in _entries)
            while (entry.Period > 0 && entry.At > now + entry.Period) entry.At -= entry.Period;
    }

    sealed class Entry(Agenda agenda, ulong at, ulong period, Action deed) : IDisposable
    {
        public ulong At { get; set; } = at;
        public ulong Period => period;
        public Action Deed => deed;

        public void Dispose() => agenda._entries.Remove(this);
    }
}
