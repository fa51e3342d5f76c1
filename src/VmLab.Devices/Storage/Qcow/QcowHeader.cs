using System.Buffers.Binary;

namespace VmLab.Devices.Storage.Qcow;

/// <summary>How clusters are compressed.</summary>
enum QcowCompression : byte
{
    Zlib = 0, Zstd = 1,
}

/// <summary>The first bytes of a qcow2 file, version 2 or 3.</summary>
/// <remarks>All numbers are big-endian. Source: QEMU, docs/interop/qcow2.txt, "Header".</remarks>
/// <param name="BackingOffset">Where the name of the backing file is, or 0.</param>
/// <param name="L1Entries">Of 8 bytes each.</param>
/// <param name="RefcountOrder">Binary logarithm of a reference count's width in bits.</param>
readonly record struct QcowHeader(
    uint Version, ulong BackingOffset, uint BackingLength, int ClusterBits, ulong Size, uint Encryption, uint L1Entries, ulong L1Offset,
    ulong RefcountOffset, uint RefcountClusters, uint Snapshots, ulong SnapshotsOffset, ulong Incompatible, int RefcountOrder,
    uint HeaderLength, QcowCompression Compression)
{
    public const uint Magic = 0x514649FB;
    public const int OldLength = 72, Length = 104, LongestLength = 112;
    public const ulong Dirty = 1, Corrupt = 2, ExternalData = 4, CompressionType = 8, ExtendedTables = 16;

    public ulong ClusterSize => 1UL << ClusterBits;

    /// <summary>Bytes of the disk that one second-level table maps.</summary>
    public ulong TableReach => ClusterSize * (ClusterSize / 8);

    public bool IsDirty => (Incompatible & Dirty) != 0;

    /// <param name="bytes">The file's first <see cref="LongestLength"/> bytes, with zeros behind its end.</param>
    public static QcowHeader Read(ReadOnlySpan<byte> bytes)
    {
        uint version = Word(bytes, 4);
        bool isOld = version < 3;
        uint length = isOld ? OldLength : Word(bytes, 100);
        return new QcowHeader(
            version, Long(bytes, 8), Word(bytes, 16), (int)Math.Min(Word(bytes, 20), 64), Long(bytes, 24), Word(bytes, 32), Word(bytes, 36),
            Long(bytes, 40), Long(bytes, 48), Word(bytes, 56), Word(bytes, 60), Long(bytes, 64),
            isOld ? 0 : Long(bytes, 72), isOld ? 4 : (int)Math.Min(Word(bytes, 96), 64), length,
            length > Length ? (QcowCompression)bytes[104] : QcowCompression.Zlib);
    }

    /// <summary>Writes a header of version 3, with no backing file and no extension.</summary>
    public void Write(Span<byte> bytes)
    {
        bytes[..LongestLength].Clear();
        Put(bytes, 0, Magic);
        Put(bytes, 4, 3);
        Put(bytes, 20, (uint)ClusterBits);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[24..], Size);
        Put(bytes, 36, L1Entries);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[40..], L1Offset);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[48..], RefcountOffset);
        Put(bytes, 56, RefcountClusters);
        Put(bytes, 96, (uint)RefcountOrder);
        Put(bytes, 100, Length);
    }

    static void Put(Span<byte> bytes, int at, uint value) => BinaryPrimitives.WriteUInt32BigEndian(bytes[at..], value);

    static uint Word(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32BigEndian(bytes[at..]);

    static ulong Long(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt64BigEndian(bytes[at..]);
}
