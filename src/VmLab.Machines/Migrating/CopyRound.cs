using VmLab.Core;

namespace VmLab.Machines.Migrating;

/// <summary>What one round copies of a machine, as it was at the round's beginning; the machine may run on.</summary>
sealed class CopyRound
{
    readonly MachineMoment _moment;
    readonly bool _compresses;
    readonly List<(int Space, uint[] Pages)> _spaces = [];
    int _space, _index;

    /// <param name="since">The other side has of each page what it was at one of these moments; of none, nothing.</param>
    /// <param name="withMemory">Whether pages of memory are copied, or those of disks alone.</param>
    public CopyRound(MachineMoment moment, IReadOnlyList<MachineMoment> since, bool withMemory, bool compresses)
    {
        (_moment, _compresses) = (moment, compresses);
        if (withMemory) _spaces.Add((0, MemorySince(moment.Memory, since)));
        for (int disk = 0; disk < moment.Disks.Count; disk++)
            _spaces.Add((disk + 1, DiskSince(moment, since, disk)));
        Pages = _spaces.Sum(space => space.Pages.Length);
    }

    /// <summary>How many pages there are to copy.</summary>
    public int Pages { get; }

    /// <summary>The pages of memory among them.</summary>
    public IReadOnlyList<uint> Memory => _spaces is [(0, var pages), ..] ? pages : [];

    /// <summary>The next message's body, in the batch that is given; <see langword="null"/> where all were taken.</summary>
    public ReadOnlyMemory<byte>? Next(PageBatch batch)
    {
        while (_space < _spaces.Count && _index == _spaces[_space].Pages.Length) (_space, _index) = (_space + 1, 0);
        if (_space == _spaces.Count) return null;
        var (space, pages) = _spaces[_space];
        ReadOnlySpan<uint> some = pages.AsSpan(_index, Math.Min(PageBatch.MostPages, pages.Length - _index));
        _index += some.Length;
        return batch.Write(space, some, page => Read(_moment, space, page), _compresses);
    }

    /// <summary>The bytes of a page of memory or of a disk; none where there is nothing in it.</summary>
    public static ReadOnlySpan<byte> Read(MachineMoment moment, int space, uint page)
    {
        if (space > 0) return moment.Disks[space - 1].Current.ChunkAt(page);
        ReadOnlySpan<byte> bytes = moment.Memory.PageAt(page);
        return bytes.ContainsAnyExcept((byte)0) ? bytes : [];
    }

    // What is full of zeros is so on the other side from the beginning.
    static uint[] MemorySince(MemoryMoment memory, IReadOnlyList<MachineMoment> since) => since.Count == 0
        ? [.. memory.PagesSince(null).Where(page => memory.PageAt(page).ContainsAnyExcept((byte)0))]
        : [.. since.SelectMany(before => memory.PagesSince(before.Memory)).Distinct().Order()];

    static uint[] DiskSince(MachineMoment moment, IReadOnlyList<MachineMoment> since, int disk)
    {
        IEnumerable<ulong> chunks = since.Count == 0
            ? moment.Disks[disk].Current.ChunksSince(null)
            : since.SelectMany(before => moment.Disks[disk].Current.ChunksSince(before.Disks[disk].Current)).Distinct().Order();
        return [.. chunks.Select(chunk => checked((uint)chunk))];
    }
}
