namespace VmLab.Reporting;

/// <summary>How busy a machine was in one branch: pieces of time over which it was about equally so.</summary>
/// <param name="start">Lab time of the branch's beginning, in nanoseconds.</param>
sealed class LoadTrack(ulong start)
{
    /// <summary>Past this, each two neighbours become one.</summary>
    public const int MostPieces = 4096;

    // In nanoseconds. A sample ends where lab time is a multiple of it, whenever the lab looks.
    const ulong SampleTime = 10_000_000;

    // Loads no further apart than this count as equal.
    const double SameLoad = 1.0 / 32;

    readonly List<Piece> _pieces = [];
    readonly ulong _start = start;
    ulong _reached = start, _seen = start;
    double _counts;

    public IReadOnlyList<Piece> Pieces => _pieces;

    /// <summary>Adds what the machine retired since the last time, which counts as done evenly.</summary>
    /// <param name="time">Lab time, in nanoseconds.</param>
    public void Add(ulong time, ulong counts)
    {
        double left = counts;
        while (_seen < time)
        {
            ulong end = Math.Min(time, (_seen / SampleTime + 1) * SampleTime);
            double done = left * (end - _seen) / (time - _seen);
            left -= done;
            _counts += done;
            _seen = end;
            if (_seen % SampleTime == 0) Close();
        }
        _counts += left;
    }

    /// <summary>Ends the sample that is under way.</summary>
    public void Close()
    {
        if (_seen == _reached) return;
        double load = Math.Min(1, _counts / (_seen - _reached));
        if (_pieces is [.., var last] && Math.Abs(last.Load - load) <= SameLoad) _pieces[^1] = last with { End = _seen };
        else _pieces.Add(new Piece(_seen, load));
        (_reached, _counts) = (_seen, 0);
        if (_pieces.Count > MostPieces) Halve();
    }

    void Halve()
    {
        for (int i = 0; i < MostPieces / 2; i++)
        {
            ulong begin = i == 0 ? _start : _pieces[i - 1].End;
            Piece first = _pieces[2 * i], second = _pieces[2 * i + 1];
            double share = (double)(first.End - begin) / (second.End - begin);
            _pieces[i] = second with { Load = first.Load * share + second.Load * (1 - share) };
        }
        _pieces.RemoveRange(MostPieces / 2, MostPieces / 2);
    }

    /// <param name="End">Lab time, in nanoseconds; it begins where the one before ends.</param>
    /// <param name="Load">Counts a nanosecond: 0 is idle, 1 is busy all the time.</param>
    public readonly record struct Piece(ulong End, double Load);
}
