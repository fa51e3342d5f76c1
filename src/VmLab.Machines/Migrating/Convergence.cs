namespace VmLab.Machines.Migrating;

/// <summary>What pre-copy does after a round.</summary>
enum NextStep
{
    Stop,
    Another,
    SlowDown,
    GiveUp,
}

/// <summary>Whether rounds of pre-copy come to an end: what the wire carries against what the machine dirties.</summary>
sealed class Convergence(Migration plan)
{
    const int FirstThrottle = 20, NextThrottle = 10, MostThrottle = 99, FruitlessRounds = 3;
    const double Fruit = 0.9;
    const long LeastMeasured = 64 << 10;
    const double PageOnWire = PageBatch.PageSize + 4;

    double _rate, _perPage = PageOnWire;   // bytes a nanosecond, bytes
    int _least = int.MaxValue, _fruitless, _rounds;

    /// <summary>What part of the time the processor is kept from the machine, in percent.</summary>
    public int Throttle { get; private set; }

    /// <summary>From a message to its answer, at the quickest so far, in nanoseconds.</summary>
    public ulong RoundTrip { get; private set; } = ulong.MaxValue;

    /// <summary>What goes beside pages while the machine stands still, in bytes.</summary>
    public long StateBytes { get; set; }

    /// <summary>An answer has taken so long, in nanoseconds.</summary>
    public void MeasureAnswer(ulong time) => RoundTrip = Math.Min(RoundTrip, time);

    /// <summary>A round has taken so long, in nanoseconds. A small one says only that the wire is no slower.</summary>
    public void Measure(int pages, long bytes, ulong time)
    {
        _rounds++;
        double rate = Math.Max(1.0, bytes) / Math.Max(1, time);
        _rate = bytes >= LeastMeasured ? rate : Math.Max(_rate, rate);
        if (pages > 0) _perPage = Math.Min(PageOnWire, (double)bytes / pages);
    }

    /// <summary>How long the machine would stand still, in nanoseconds: for the bytes, and for the ways of state and command.</summary>
    public double Estimate(int pages) => (pages * _perPage + StateBytes) / _rate + 2.0 * RoundTrip;

    /// <param name="pages">Left to copy.</param>
    public NextStep Decide(int pages)
    {
        if (plan.Mode == MigrationMode.PostCopy || Estimate(pages) <= plan.Downtime.TotalNanoseconds) return NextStep.Stop;
        if (_rounds >= plan.MostRounds) return NextStep.GiveUp;
        if (pages < _least * Fruit) (_least, _fruitless) = (pages, 0);
        else _fruitless++;
        if (_fruitless < FruitlessRounds) return NextStep.Another;
        if (plan.Throttles && Throttle < MostThrottle)
        {
            Throttle = Throttle == 0 ? FirstThrottle : Math.Min(Throttle + NextThrottle, MostThrottle);
            _fruitless--;
            return NextStep.SlowDown;
        }
        return plan.Mode == MigrationMode.Auto ? NextStep.GiveUp : NextStep.Another;
    }
}
