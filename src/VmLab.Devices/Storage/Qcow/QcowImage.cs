using System.Buffers.Binary;
using System.IO.Compression;
using System.IO.Hashing;
using System.Text;
using ZstdSharp;

namespace VmLab.Devices.Storage.Qcow;

/// <summary>A qcow2 file, version 2 or 3, opened for reading alone: backing files, zero clusters, compressed clusters.</summary>
/// <remarks>
/// Header and tables are checked whole when it is opened, so that what is damaged is refused then; a compressed cluster that
/// does not unpack is an error of each read of it. Simplified: no encryption, no external data file, no subclusters; of
/// internal snapshots, only the present state is seen. Not thread-safe. Source: QEMU, docs/interop/qcow2.txt.
/// </remarks>
public sealed class QcowImage : ImageFile
{
    const ulong LargestDisk = 1UL << 44, MostTableBytes = 32 << 20, AddressBits = 0x00FF_FFFF_FFFF_FE00, Compressed = 1UL << 62,
                ReadsAsZeros = 1, TableReserved = 0x7F00_0000_0000_01FF, ClusterReserved = 0x3F00_0000_0000_01FE;
    const int MostBackingFiles = 32, LongestName = 1023;
    const uint FormatExtension = 0xE2792ACA;

    readonly QcowHeader _header;
    readonly ulong[] _tables;                 // where the second-level tables are, or 0
    readonly Dictionary<ulong, ulong[]> _entries = [];
    readonly ImageFile? _backing;
    readonly byte[] _unpacked;
    ulong _unpackedEntry;

    /// <exception cref="DamagedImageException">The file is damaged, or uses what is not supported.</exception>
    public QcowImage(string path) : this(path, depth: 0)
    {
    }

    QcowImage(string path, int depth) : base(path)
    {
        try
        {
            Span<byte> start = stackalloc byte[QcowHeader.LongestLength];
            start.Clear();
            ReadFile(0, start[..(int)Math.Min((ulong)start.Length, Length)]);
            _header = QcowHeader.Read(start);
            CheckHeader(BinaryPrimitives.ReadUInt32BigEndian(start));
            _unpacked = new byte[_header.ClusterSize];
            _tables = ReadTable(_header.L1Offset, _header.L1Entries);
            new QcowCheck(_header, Length, Refuse, ReadTable).Run(_tables, _entries);
            _backing = OpenBacking(depth);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public override ByteSize Size => new(_header.Size);

    /// <summary>Whether a file begins as a qcow2 file does.</summary>
    /// <exception cref="LabException">The file cannot be opened.</exception>
    public static bool IsOne(string path)
    {
        try
        {
            using FileStream file = File.OpenRead(path);
            Span<byte> magic = stackalloc byte[4];
            return file.ReadAtLeast(magic, 4, throwOnEndOfStream: false) == 4
                && BinaryPrimitives.ReadUInt32BigEndian(magic) == QcowHeader.Magic;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new LabException($"The disk image {path} cannot be opened: {failure.Message}");
        }
    }

    public override void Read(ulong offset, Span<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            ulong inside = offset & _header.ClusterSize - 1;
            int count = (int)Math.Min((ulong)bytes.Length, _header.ClusterSize - inside);
            ReadInCluster(offset, inside, bytes[..count]);
            offset += (ulong)count;
            bytes = bytes[count..];
        }
    }

    public override void Dispose()
    {
        _backing?.Dispose();
        base.Dispose();
    }

    internal override ulong AddTo(XxHash128 hash) => base.AddTo(hash) + (_backing?.AddTo(hash) ?? 0);

    void ReadInCluster(ulong offset, ulong inside, Span<byte> bytes)
    {
        ulong table = _tables[offset / _header.TableReach] & AddressBits;
        ulong entry = table == 0 ? 0 : _entries[table][offset / _header.ClusterSize % (_header.ClusterSize / 8)];
        if ((entry & Compressed) != 0) Unpack(entry).AsSpan((int)inside, bytes.Length).CopyTo(bytes);
        else if (_header.Version >= 3 && (entry & ReadsAsZeros) != 0) bytes.Clear();
        else if ((entry & AddressBits) != 0) ReadFile((entry & AddressBits) + inside, bytes);
        else ReadBacking(offset, bytes);
    }

    void ReadBacking(ulong offset, Span<byte> bytes)
    {
        ulong end = _backing?.Size.Bytes ?? 0;
        int count = offset >= end ? 0 : (int)Math.Min((ulong)bytes.Length, end - offset);
        if (count > 0) _backing!.Read(offset, bytes[..count]);
        bytes[count..].Clear();
    }

    byte[] Unpack(ulong entry)
    {
        if (entry == _unpackedEntry) return _unpacked;
        _unpackedEntry = 0;
        (ulong at, ulong length) = QcowCheck.CompressedRange(entry, _header.ClusterBits);
        byte[] packed = new byte[Math.Min(length, Length - at)];
        ReadFile(at, packed);
        try
        {
            using Stream stream = _header.Compression == QcowCompression.Zstd
                ? new DecompressionStream(new MemoryStream(packed)) : new DeflateStream(new MemoryStream(packed), CompressionMode.Decompress);
            stream.ReadExactly(_unpacked);
        }
        catch (Exception failure) when (failure is IOException or InvalidDataException or ZstdException)
        {
            throw Refuse("a compressed cluster does not unpack", $"It is at byte {at}: {failure.Message}");
        }
        _unpackedEntry = entry;
        return _unpacked;
    }

    void CheckHeader(uint magic)
    {
        const ulong Known = QcowHeader.Dirty | QcowHeader.CompressionType;
        if (magic != QcowHeader.Magic) throw Refuse("no qcow2 file", "It does not begin with QFI and 0xFB.");
        if (_header.Version is not (2 or 3)) throw Refuse("unknown version", $"It says {_header.Version}; 2 and 3 are known.");
        if (_header.ClusterBits is < 9 or > 21) throw Refuse("bad cluster size", $"Clusters have 2^9 to 2^21 bytes, not 2^{_header.ClusterBits}.");
        if (_header.Version == 3 && (_header.HeaderLength is < QcowHeader.Length or > 4096 || _header.HeaderLength % 8 != 0))
            throw Refuse("bad header length", $"It says {_header.HeaderLength} bytes.");
        if (_header.Encryption != 0) throw Refuse("encrypted", "Convert it with `qemu-img convert`.");
        if ((_header.Incompatible & QcowHeader.Corrupt) != 0) throw Refuse("marked as corrupt", "Repair it with `qemu-img check -r all`.");
        if ((_header.Incompatible & ~Known) != 0)
            throw Refuse("unsupported features", $"They are 0x{_header.Incompatible:x}: convert it with `qemu-img convert -O qcow2`.");
        if (_header.Compression > QcowCompression.Zstd
            || (_header.Compression == QcowCompression.Zlib) != ((_header.Incompatible & QcowHeader.CompressionType) == 0))
            throw Refuse("bad compression type", $"It says {(byte)_header.Compression}.");
        if (_header.Size == 0 || _header.Size > LargestDisk || _header.Size % IBlockBackend.SectorSize != 0)
            throw Refuse("bad disk size", $"It says {_header.Size} bytes; a disk has 512-byte sectors, and at most 16 TiB.");
        ulong needed = (_header.Size + _header.TableReach - 1) / _header.TableReach;
        if (_header.L1Entries < needed || _header.L1Entries > MostTableBytes / 8)
            throw Refuse("bad first-level table size", $"It has {_header.L1Entries} entries; {needed} are needed.");
        if (_header.RefcountOrder > 6) throw Refuse("bad width of reference counts", $"It says 2^{_header.RefcountOrder} bits.");
        if (_header.RefcountClusters == 0 || _header.RefcountClusters * _header.ClusterSize > MostTableBytes)
            throw Refuse("bad reference count table size", $"It has {_header.RefcountClusters} clusters.");
        if (_header.Snapshots > QcowCheck.MostSnapshots)
            throw Refuse("too many internal snapshots", $"It has {_header.Snapshots}: convert it with `qemu-img convert -O qcow2`.");
    }

    ulong[] ReadTable(ulong at, ulong entries)
    {
        if (at == 0 || at % _header.ClusterSize != 0 || at > Length || entries * 8 > Length - at)
            throw Refuse("a table lies outside the file", $"It is said to be at byte {at}.");
        byte[] bytes = new byte[entries * 8];
        ReadFile(at, bytes);
        ulong[] table = new ulong[entries];
        for (int i = 0; i < table.Length; i++) table[i] = BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(8 * i));
        return table;
    }

    ImageFile? OpenBacking(int depth)
    {
        if (_header.BackingOffset == 0) return null;
        if (_header.BackingLength is 0 or > LongestName || _header.BackingOffset > _header.ClusterSize - _header.BackingLength)
            throw Refuse("bad name of a backing file", $"It has {_header.BackingLength} bytes at byte {_header.BackingOffset}.");
        if (depth == MostBackingFiles) throw Refuse("too many backing files", $"They are more than {MostBackingFiles}, or go in a circle.");
        byte[] name = new byte[_header.BackingLength];
        ReadFile(_header.BackingOffset, name);
        string folder = System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(Path))!;
        string path;
        try
        {
            path = System.IO.Path.Combine(folder, new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(name));
            bool isQcow = BackingFormat() switch { "raw" => false, "qcow2" => true, _ => IsOne(path) };
            return isQcow ? new QcowImage(path, depth + 1) : new RawFile(path);
        }
        catch (Exception failure) when (failure is ArgumentException or DamagedImageException or LabException)
        {
            throw Refuse("its backing file cannot be used", failure.Message);
        }
    }

    /// <summary>What the header's extensions say of the backing file.</summary>
    string? BackingFormat()
    {
        Span<byte> head = stackalloc byte[8];
        for (ulong at = _header.HeaderLength; at + 8 <= _header.BackingOffset;)
        {
            ReadFile(at, head);
            uint kind = BinaryPrimitives.ReadUInt32BigEndian(head), length = BinaryPrimitives.ReadUInt32BigEndian(head[4..]);
            if (kind == 0) break;
            if (length > _header.BackingOffset - at - 8) throw Refuse("bad header extension", $"It has {length} bytes at byte {at}.");
            if (kind == FormatExtension && length is > 0 and < 16)
            {
                byte[] format = new byte[length];
                ReadFile(at + 8, format);
                return Encoding.ASCII.GetString(format);
            }
            at += 8 + (length + 7UL & ~7UL);
        }
        return null;
    }

    DamagedImageException Refuse(string rule, string detail) => new(Path, rule, detail);

    // What the checker shares with the reader.
    internal static ulong AddressOf(ulong entry) => entry & AddressBits;
    internal static bool IsCompressed(ulong entry) => (entry & Compressed) != 0;
    internal static bool HasReservedBits(ulong tableEntry) => (tableEntry & TableReserved) != 0;
    internal static bool HasReservedClusterBits(ulong entry, uint version) =>
        (entry & (ClusterReserved | (version < 3 ? ReadsAsZeros : 0))) != 0;
}
