using VmLab.Core;

namespace VmLab.Devices.Storage;

/// <summary>What a drive that has gone bad does.</summary>
public enum DriveFaultKind : byte
{
    /// <summary>Requests fail.</summary>
    Error,

    /// <summary>Requests take longer.</summary>
    Latency,

    /// <summary>Of a write, only the first sectors arrive, and it is said to have succeeded.</summary>
    Torn,

    /// <summary>A write does not arrive, and is said to have succeeded.</summary>
    Dropped,

    /// <summary>A flush leaves some of what was written in the cache, and is said to have succeeded.</summary>
    Reordered,

    /// <summary>Writes fail where nothing was written before, as on a thin volume whose pool is used up.</summary>
    Full,
}

/// <summary>Something that is wrong with a drive.</summary>
/// <param name="Operations">Which requests it meets.</param>
/// <param name="FirstSector">First of the sectors that it meets; a flush has none, and meets it always.</param>
/// <param name="EndSector">First sector behind them.</param>
/// <param name="DelayNanoseconds">What a request takes longer.</param>
/// <param name="Left">How many requests it meets yet; 0 for any number.</param>
public readonly record struct DriveFault(
    DriveFaultKind Kind, DiskOperations Operations, ulong FirstSector, ulong EndSector, ulong DelayNanoseconds, int Left)
{
    internal bool Meets(DiskRequest request) => (Operations & request.Operation) != 0
        && (request.Operation == DiskOperations.Flushes
            || request.Sector < EndSector && request.Sector + Math.Max(1, request.Count) > FirstSector);
}

/// <summary>A drive, and what is wrong with it.</summary>
public sealed class FaultyDrive : IBlockBackend, ISnapshot<FaultyDrive.State>
{
    /// <param name="Random">Decides where writes are torn, and what is reordered.</param>
    /// <param name="Reads">Requests since power-on.</param>
    [Schema("faulty-drive", version: 1)]
    public readonly record struct State(Values<DriveFault> Faults, Rng Random, ulong Reads, ulong Writes, ulong Flushes);

    State _state;

    // Of the request under way, which is done before anything else happens.
    bool _fails, _isReordered, _isFull;
    ulong _arrives = ulong.MaxValue;

    public FaultyDrive(DiskDrive drive, Rng random)
    {
        Drive = drive;
        _state = _state with { Random = random };
    }

    public DiskDrive Drive { get; }

    /// <summary>Is told of each request when its time has come, before it is done; may add faults, and take the power away.</summary>
    public Action<DiskRequest>? Requested { get; set; }

    /// <summary>Is told what a fault does to a request.</summary>
    public Action<string>? Affected { get; set; }

    public ulong Sectors => Drive.Sectors;

    public bool IsReadOnly => Drive.IsReadOnly;

    public void Add(DriveFault fault) => _state = _state with { Faults = [.. _state.Faults, fault] };

    /// <summary>Takes a fault away, however many requests it has met since it was added.</summary>
    public void Remove(DriveFault fault)
    {
        List<DriveFault> faults = [.. _state.Faults];
        int index = faults.FindIndex(other => other with { Left = fault.Left } == fault);
        if (index >= 0) faults.RemoveAt(index);
        _state = _state with { Faults = [.. faults] };
    }

    public ulong DelayOf(DiskRequest request)
    {
        ulong delay = 0;
        foreach (DriveFault fault in _state.Faults)
            if (fault.Kind == DriveFaultKind.Latency && fault.Meets(request)) delay += fault.DelayNanoseconds;
        return delay;
    }

    public void Begin(DiskRequest request)
    {
        Count(request.Operation);
        Requested?.Invoke(request);
        (_fails, _isReordered, _isFull, _arrives) = (false, false, false, ulong.MaxValue);
        if (_state.Faults.Count == 0) return;
        var left = new List<DriveFault>(_state.Faults.Count);
        foreach (DriveFault fault in _state.Faults)
        {
            if (!fault.Meets(request)) left.Add(fault);
            else if (!Meet(fault, request) || fault.Left == 0) left.Add(fault);
            else if (fault.Left > 1) left.Add(fault with { Left = fault.Left - 1 });
        }
        _state = _state with { Faults = [.. left] };
    }

    public bool Read(ulong sector, Span<byte> bytes) => !_fails && Drive.Read(sector, bytes);

    public bool Write(ulong sector, ReadOnlySpan<byte> bytes)
    {
        ulong count = (ulong)bytes.Length / IBlockBackend.SectorSize;
        if (IsRefused(sector, count)) return false;
        ulong arriving = Arriving(sector, count);
        return arriving == 0 || Drive.Write(sector, bytes[..((int)arriving * IBlockBackend.SectorSize)]);
    }

    public bool Zero(ulong sector, ulong count)
    {
        if (IsRefused(sector, count)) return false;
        ulong arriving = Arriving(sector, count);
        return arriving == 0 || Drive.Zero(sector, arriving);
    }

    public bool Flush()
    {
        if (_fails) return false;
        if (!_isReordered) return Drive.Flush();
        Drive.FlushSome(Draw());
        return true;
    }

    /// <summary>From now on, other decisions are drawn.</summary>
    public void Reseed(Rng random) => _state = _state with { Random = random };

    public State Save() => _state;

    public void Restore(State state) => _state = state;

    void Count(DiskOperations operation) => _state = operation switch
    {
        DiskOperations.Reads => _state with { Reads = _state.Reads + 1 },
        DiskOperations.Writes => _state with { Writes = _state.Writes + 1 },
        _ => _state with { Flushes = _state.Flushes + 1 },
    };

    /// <returns>Whether the fault does anything to the request.</returns>
    bool Meet(DriveFault fault, DiskRequest request)
    {
        string what = request.Operation switch
        {
            DiskOperations.Reads => $"read of {Range(request)}",
            DiskOperations.Writes => $"write of {Range(request)}",
            _ => "flush",
        };
        switch (fault.Kind)
        {
            case DriveFaultKind.Error:
                _fails = true;
                Affected?.Invoke($"{what} fails");
                return true;
            case DriveFaultKind.Latency: return true;
            case DriveFaultKind.Dropped:
                _arrives = request.Sector;
                Affected?.Invoke($"{what} is dropped");
                return true;
            case DriveFaultKind.Torn:
                Rng random = Draw();
                _arrives = Math.Min(_arrives, request.Sector + random.NextBelow(request.Count));
                Affected?.Invoke($"{what} is torn: {_arrives - request.Sector} of {request.Count} arrive");
                return true;
            case DriveFaultKind.Reordered:
                _isReordered = true;
                Affected?.Invoke($"{what} leaves some of {Drive.UnflushedWrites} writes in the cache");
                return true;
            default:
                if (Drive.HasRoomFor(request.Sector, request.Count)) return false;
                _isFull = true;
                Affected?.Invoke($"{what} fails: no room");
                return true;
        }
    }

    static string Range(DiskRequest request) =>
        request.Count == 1 ? $"sector {request.Sector}" : $"sectors {request.Sector} to {request.Sector + request.Count - 1}";

    bool IsRefused(ulong sector, ulong count) => _fails || _isFull && !Drive.HasRoomFor(sector, count);

    ulong Arriving(ulong sector, ulong count) => _arrives <= sector ? 0 : Math.Min(count, _arrives - sector);

    /// <summary>A stream of its own, for one decision.</summary>
    Rng Draw()
    {
        Rng random = _state.Random;
        var drawn = Rng.FromSeed(random.Next());
        _state = _state with { Random = random };
        return drawn;
    }
}
