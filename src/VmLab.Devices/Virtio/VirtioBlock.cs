using System.Buffers.Binary;
using System.Text;
using VmLab.Core;
using VmLab.Devices.Storage;

namespace VmLab.Devices.Virtio;

/// <summary>How long a block device takes for a request.</summary>
/// <param name="Transfer">For reads and writes.</param>
/// <param name="FlushNanoseconds">For a flush of the write cache, on top of the latency of a transfer.</param>
public readonly record struct DiskTiming(ServiceRate Transfer, ulong FlushNanoseconds)
{
    /// <summary>Like a solid-state drive: 5 us and 1 GB/s, 50 us for a flush.</summary>
    public static DiskTiming Default { get; } = new(new ServiceRate(5_000, 1_000_000_000), 50_000);
}

/// <summary>A virtio block device: one queue of requests to a backend.</summary>
/// <remarks>
/// Simplified: one request at a time, in their order; no geometry, no secure erase, no zones. A write is durable after
/// a flush, or at once while the driver has turned the cache off. Source: VIRTIO 1.2, §5.2.
/// </remarks>
public sealed class VirtioBlock : VirtioDevice, ISnapshot<VirtioBlock.State>
{
    /// <param name="IsWriteBack">The driver lets writes wait for a flush.</param>
    [Schema("virtio-block", version: 1)]
    public readonly record struct State(VirtioPci.State Transport, bool IsWriteBack);

    const ulong SegmentMaximum = 1 << 2, ReadOnly = 1 << 5, BlockSize = 1 << 6, FlushFeature = 1 << 9,
                ConfigWriteBack = 1 << 11, DiscardFeature = 1 << 13, ZeroFeature = 1 << 14;
    const ulong Features = SegmentMaximum | BlockSize | FlushFeature | ConfigWriteBack | DiscardFeature | ZeroFeature;
    const ushort DeviceType = 2;
    const uint PciClass = 0x018000;

    // Configuration: offsets.
    const int ConfigSize = 60, MaximumSegments = 12, SectorBytes = 20, WriteBack = 32, DiscardSectors = 36,
              DiscardSegments = 40, DiscardAlignment = 44, ZeroSectors = 48, ZeroSegments = 52, MayUnmap = 56;

    // Requests: a header of 16 bytes, data, one byte of status.
    const uint ReadRequest = 0, WriteRequest = 1, FlushRequest = 4, IdentifyRequest = 8, DiscardRequest = 11, ZeroRequest = 13;
    const byte Succeeded = 0, Failed = 1, Unsupported = 2;
    const int HeaderSize = 16, RangeSize = 16, IdentifierSize = 20, MostRanges = 32;
    const uint MostSectorsToZero = 1 << 18, UnmapFlag = 1;
    const int SectorSize = IBlockBackend.SectorSize, BufferSize = 64 << 10;

    readonly IBlockBackend _backend;
    readonly DiskTiming _timing;
    readonly byte[] _identifier = new byte[IdentifierSize], _buffer = new byte[BufferSize];
    bool _isWriteBack = true;

    /// <param name="name">What the guest may ask for as the drive's identifier; of it, the first 20 bytes.</param>
    public VirtioBlock(VirtioBoard board, IBlockBackend backend, string name, DiskTiming timing)
        : base(board, new VirtioIdentity(
            DeviceType, PciClass, QueueCount: 1, Features | (backend.IsReadOnly ? ReadOnly : 0), ConfigSize))
    {
        _backend = backend;
        _timing = timing;
        Encoding.UTF8.GetEncoder().Convert(name, _identifier, flush: true, out _, out _, out _);
    }

    bool IsWriteThrough => !Has(FlushFeature) || Has(ConfigWriteBack) && !_isWriteBack;

    public State Save() => new(Transport.Save(), _isWriteBack);

    public void Restore(State state)
    {
        Transport.Restore(state.Transport);
        _isWriteBack = state.IsWriteBack;
    }

    protected internal override void Reset() => _isWriteBack = true;

    protected internal override void FillConfig(Span<byte> config)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(config, _backend.Sectors);
        Put(MaximumSegments, VirtqueueState.MostDescriptors - 2, config);
        Put(SectorBytes, SectorSize, config);
        config[WriteBack] = _isWriteBack ? (byte)1 : (byte)0;
        config[WriteBack + 2] = 1;                                  // one queue
        Put(DiscardSectors, MostSectorsToZero, config);
        Put(DiscardSegments, MostRanges, config);
        Put(DiscardAlignment, 1, config);
        Put(ZeroSectors, MostSectorsToZero, config);
        Put(ZeroSegments, MostRanges, config);
        config[MayUnmap] = 1;

        static void Put(int offset, uint value, Span<byte> config) =>
            BinaryPrimitives.WriteUInt32LittleEndian(config[offset..], value);
    }

    protected internal override void WriteConfig(int offset, int width, ulong value)
    {
        if (offset == WriteBack && width == 1 && Has(ConfigWriteBack)) _isWriteBack = value != 0;
    }

    protected override ulong TimeOf(int queue, VirtioChain chain)
    {
        if (chain.Readable < HeaderSize) return _timing.Transfer.TimeOf(0);
        (uint type, ulong sector) = ReadHeader(chain);
        bool isFlush = type == FlushRequest || type is WriteRequest or ZeroRequest && IsWriteThrough;
        DiskRequest request = type switch
        {
            ReadRequest => new(DiskOperations.Reads, sector, chain.Writable / SectorSize),
            FlushRequest => new(DiskOperations.Flushes, 0, 0),
            _ => new(DiskOperations.Writes, sector, (chain.Readable - HeaderSize) / SectorSize),
        };
        return _timing.Transfer.TimeOf(chain.Readable + chain.Writable) + (isFlush ? _timing.FlushNanoseconds : 0)
            + _backend.DelayOf(request);
    }

    protected override uint? Serve(int queue, VirtioChain chain)
    {
        if (chain.Readable < HeaderSize || chain.Writable == 0) return null;
        (uint type, ulong sector) = ReadHeader(chain);
        uint statusAt = chain.Writable - 1;
        byte status = type switch
        {
            ReadRequest => Read(chain, sector, statusAt),
            WriteRequest => Settle(Write(chain, sector)),
            FlushRequest => Flush(),
            IdentifyRequest => Identify(chain, statusAt),
            DiscardRequest => Settle(ZeroAll(chain, allowedFlags: 0)),
            ZeroRequest => Settle(ZeroAll(chain, UnmapFlag)),
            _ => Unsupported,
        };
        chain.Write(statusAt, [status]);
        // Of a failed request, the driver may look at the status alone; but all before it counts as written.
        return chain.Writable;
    }

    static (uint Type, ulong Sector) ReadHeader(VirtioChain chain)
    {
        Span<byte> header = stackalloc byte[HeaderSize];
        chain.Read(0, header);
        return (BinaryPrimitives.ReadUInt32LittleEndian(header), BinaryPrimitives.ReadUInt64LittleEndian(header[8..]));
    }

    bool IsOnDisk(ulong sector, ulong count) => sector <= _backend.Sectors && count <= _backend.Sectors - sector;

    byte Read(VirtioChain chain, ulong sector, uint length)
    {
        if (length % SectorSize != 0 || !IsOnDisk(sector, length / SectorSize)) return Failed;
        _backend.Begin(new DiskRequest(DiskOperations.Reads, sector, length / SectorSize));
        for (uint done = 0; done < length; done += BufferSize)
        {
            Span<byte> bytes = _buffer.AsSpan(0, (int)Math.Min(BufferSize, length - done));
            if (!_backend.Read(sector + done / SectorSize, bytes)) return Failed;
            chain.Write(done, bytes);
        }
        return Succeeded;
    }

    byte Write(VirtioChain chain, ulong sector)
    {
        uint length = chain.Readable - HeaderSize;
        if (_backend.IsReadOnly || length % SectorSize != 0 || !IsOnDisk(sector, length / SectorSize)) return Failed;
        _backend.Begin(new DiskRequest(DiskOperations.Writes, sector, length / SectorSize));
        for (uint done = 0; done < length; done += BufferSize)
        {
            Span<byte> bytes = _buffer.AsSpan(0, (int)Math.Min(BufferSize, length - done));
            chain.Read(HeaderSize + done, bytes);
            if (!_backend.Write(sector + done / SectorSize, bytes)) return Failed;
        }
        return Succeeded;
    }

    byte Flush()
    {
        _backend.Begin(new DiskRequest(DiskOperations.Flushes, 0, 0));
        return _backend.Flush() ? Succeeded : Failed;
    }

    byte Settle(byte status) => status == Succeeded && IsWriteThrough ? Flush() : status;

    byte Identify(VirtioChain chain, uint length)
    {
        chain.Write(0, _identifier.AsSpan(0, (int)Math.Min(length, IdentifierSize)));
        return Succeeded;
    }

    byte ZeroAll(VirtioChain chain, uint allowedFlags)
    {
        uint length = chain.Readable - HeaderSize;
        if (_backend.IsReadOnly || length % RangeSize != 0 || length > MostRanges * RangeSize) return Failed;
        Span<byte> range = stackalloc byte[RangeSize];
        for (uint done = 0; done < length; done += RangeSize)
        {
            chain.Read(HeaderSize + done, range);
            ulong sector = BinaryPrimitives.ReadUInt64LittleEndian(range);
            uint count = BinaryPrimitives.ReadUInt32LittleEndian(range[8..]);
            if ((BinaryPrimitives.ReadUInt32LittleEndian(range[12..]) & ~allowedFlags) != 0) return Unsupported;
            if (count > MostSectorsToZero || !IsOnDisk(sector, count)) return Failed;
            _backend.Begin(new DiskRequest(DiskOperations.Writes, sector, count));
            if (!_backend.Zero(sector, count)) return Failed;
        }
        return Succeeded;
    }
}
