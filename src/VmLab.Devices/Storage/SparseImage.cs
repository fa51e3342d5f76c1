using System.IO.Hashing;
using VmLab.Core;

namespace VmLab.Devices.Storage;

/// <summary>The bytes of a disk: chunks of 4 KiB, of which only those written take memory.</summary>
/// <remarks>
/// A moment is a copy of the upper level of the map; from then on chunks are copied as they are written, since a chunk
/// is changed in place only by the owner that made it. Moments need not be disposed of. One thread at a time; images
/// that share chunks may be on several.
/// </remarks>
public sealed class SparseImage
{
    /// <summary>An image at one moment: immutable.</summary>
    public sealed class Moment : ISelfWritten<Moment>
    {
        internal Moment(Leaf?[] leaves) => Leaves = leaves;

        internal Leaf?[] Leaves { get; }

        /// <summary>The chunks that are others than at an earlier moment, by number, in their order.</summary>
        /// <param name="before"><see langword="null"/> for one when nothing was written.</param>
        public IEnumerable<ulong> ChunksSince(Moment? before)
        {
            for (int i = 0; i < Leaves.Length; i++)
            {
                (Leaf? now, Leaf? then) = (Leaves[i], before?.Leaves[i]);
                if (now == then) continue;
                for (int j = 0; j < LeafChunks; j++)
                    if (now?.Chunks[j] != then?.Chunks[j]) yield return (ulong)(i << LeafShift | j);
            }
        }

        /// <summary>The bytes of a chunk; none where the image below shows.</summary>
        public ReadOnlySpan<byte> ChunkAt(ulong chunk) => Leaves[chunk >> LeafShift]?.Chunks[chunk & (LeafChunks - 1)]?.Bytes;

        /// <summary>Writes, by leaf, how many chunks differ from those of the earlier image, or from none, which, and where they are.</summary>
        public void Write(RecordWriter writer)
        {
            Moment? earlier = writer.Earlier<Moment>();
            writer.WriteCount(Leaves.Length);
            for (int i = 0; i < Leaves.Length; i++)
            {
                Chunk?[] now = ChunksOf(Leaves[i]), before = ChunksOf(earlier?.Leaves[i]);
                int[] changed = now == before ? [] : [.. Enumerable.Range(0, LeafChunks).Where(j => now[j] != before[j])];
                writer.WriteCount(changed.Length);
                foreach (int j in changed)
                {
                    writer.WriteCount(j);
                    if (now[j] is { } chunk) writer.WritePage(new PageSource(chunk.Bytes));
                    else writer.WriteNoPage();
                }
            }
        }

        public static Moment Read(RecordReader reader)
        {
            Moment? earlier = reader.Earlier<Moment>();
            var leaves = new Leaf?[reader.ReadCount()];
            if (earlier is not null && earlier.Leaves.Length != leaves.Length) throw reader.Damaged("its parent has another size of disk");
            for (int i = 0; i < leaves.Length; i++)
            {
                leaves[i] = earlier?.Leaves[i];
                int count = reader.ReadCount();
                if (count > 0) leaves[i] = ReadLeaf(reader, count, ChunksOf(leaves[i]));
            }
            return new Moment(leaves);
        }

        static Leaf ReadLeaf(RecordReader reader, int count, Chunk?[] before)
        {
            var chunks = (Chunk?[])before.Clone();
            for (int last = -1; count > 0; count--)
            {
                int next = reader.ReadCount();
                if (next <= last || next >= LeafChunks) throw reader.Damaged("chunks of a disk are out of order");
                chunks[last = next] = reader.ReadPage() is { } bytes ? new Chunk(bytes, new object()) : null;
                if (chunks[next] == before[next]) throw reader.Damaged("a chunk of a disk is as it was before");
            }
            return new Leaf(chunks, new object());
        }

        static Chunk?[] ChunksOf(Leaf? leaf) => leaf?.Chunks ?? s_none;
    }

    /// <summary>What is allocated at once, in bytes.</summary>
    public const int ChunkSize = 1 << ChunkShift;

    const int ChunkShift = 12, LeafShift = 10, LeafChunks = 1 << LeafShift;
    const ulong LeafSize = (ulong)LeafChunks << ChunkShift;

    internal sealed class Chunk(byte[] bytes, object owner)
    {
        public byte[] Bytes => bytes;
        public object Owner => owner;

        /// <summary>Of the bytes; 0 until somebody asks.</summary>
        public ulong Hash { get; set; }
    }

    internal sealed class Leaf(Chunk?[] chunks, object owner)
    {
        public Chunk?[] Chunks => chunks;
        public object Owner => owner;
    }

    static readonly Chunk?[] s_none = new Chunk?[LeafChunks];
    static readonly Chunk s_zeros = new(new byte[ChunkSize], new object());
    static readonly ulong s_zeroHash = XxHash3.HashToUInt64(s_zeros.Bytes);

    readonly IImageBase? _base;
    Leaf?[] _leaves;
    object _owner = new();

    /// <param name="below">What is read where nothing was written; <see langword="null"/> for zeros.</param>
    public SparseImage(ByteSize size, IImageBase? below = null)
    {
        Size = size;
        _base = below;
        _leaves = new Leaf?[(size.Bytes + LeafSize - 1) / LeafSize];
    }

    public ByteSize Size { get; }

    /// <param name="offset">The range lies inside the <see cref="Size"/>.</param>
    public void Read(ulong offset, Span<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            (int inside, int count) = InChunk(offset, bytes.Length);
            if (Find(offset) is { } chunk) chunk.Bytes.AsSpan(inside, count).CopyTo(bytes);
            else ReadBase(offset, bytes[..count]);
            offset += (ulong)count;
            bytes = bytes[count..];
        }
    }

    /// <inheritdoc cref="Read"/>
    public void Write(ulong offset, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            (int inside, int count) = InChunk(offset, bytes.Length);
            bytes[..count].CopyTo(Own(offset, isWhole: count == ChunkSize).AsSpan(inside));
            offset += (ulong)count;
            bytes = bytes[count..];
        }
    }

    /// <inheritdoc cref="Read"/>
    public void Zero(ulong offset, ulong length)
    {
        while (length > 0)
        {
            ulong count = Math.Min(length, LeafSize - offset % LeafSize);
            ref Leaf? leaf = ref _leaves[offset / LeafSize];
            if (_base is null && count == LeafSize) leaf = null;
            if (_base is not null || leaf is not null) ZeroInLeaf(offset, count);
            (offset, length) = (offset + count, length - count);
        }
    }

    /// <summary>The chunks that were written, by number, in their order; those of zeros over no base may be missing.</summary>
    public IEnumerable<ulong> Written =>
        from i in Enumerable.Range(0, _leaves.Length)
        where _leaves[i] is not null
        from j in Enumerable.Range(0, LeafChunks)
        where _leaves[i]!.Chunks[j] is not null
        select (ulong)(i << LeafShift | j);

    /// <summary>Whether each chunk of a range was written, or lies in the base.</summary>
    public bool IsWritten(ulong offset, ulong length)
    {
        ulong end = offset + length;
        for (ulong at = Math.Max(offset, _base?.Size.Bytes ?? 0) & ~(ulong)(ChunkSize - 1); at < end; at += ChunkSize)
            if (Find(at) is null) return false;
        return true;
    }

    /// <summary>Makes a chunk one that was never written.</summary>
    public void Forget(ulong chunk) => OwnLeaf(chunk << ChunkShift).Chunks[chunk & (LeafChunks - 1)] = null;

    public Moment Snapshot()
    {
        _owner = new object();
        return new Moment((Leaf?[])_leaves.Clone());
    }

    /// <summary>Makes the bytes what they were at a moment of an image of this size and base.</summary>
    public void Restore(Moment moment)
    {
        if (moment.Leaves.Length != _leaves.Length)
            throw new ArgumentException("The moment is of an image of another size.", nameof(moment));
        _owner = new object();
        _leaves = (Leaf?[])moment.Leaves.Clone();
    }

    /// <summary>Adds what was written over the base; chunks of zeros count as never written where there is none.</summary>
    public void AddTo(StateHash hash)
    {
        hash.Add(Size.Bytes);
        for (int i = 0; i < _leaves.Length; i++)
        {
            if (_leaves[i] is not { } leaf) continue;
            for (int j = 0; j < LeafChunks; j++)
            {
                if (leaf.Chunks[j] is not { } chunk) continue;
                if (chunk.Hash == 0) chunk.Hash = XxHash3.HashToUInt64(chunk.Bytes);
                if (_base is null && chunk.Hash == s_zeroHash) continue;
                hash.Add((ulong)(i << LeafShift | j)).Add(chunk.Hash);
            }
        }
    }

    static (int Inside, int Count) InChunk(ulong offset, int length)
    {
        int inside = (int)(offset % ChunkSize);
        return (inside, Math.Min(length, ChunkSize - inside));
    }

    static int IndexOf(ulong offset) => (int)(offset >> ChunkShift) & (LeafChunks - 1);

    Chunk? Find(ulong offset) => _leaves[offset / LeafSize]?.Chunks[IndexOf(offset)];

    void ReadBase(ulong offset, Span<byte> bytes)
    {
        int count = _base is null ? 0 : (int)Math.Min((ulong)bytes.Length, _base.Size.Bytes - Math.Min(offset, _base.Size.Bytes));
        if (count > 0) _base!.Read(offset, bytes[..count]);
        bytes[count..].Clear();
    }

    void ZeroInLeaf(ulong offset, ulong length)
    {
        Leaf leaf = OwnLeaf(offset);
        while (length > 0)
        {
            (int inside, int count) = InChunk(offset, (int)Math.Min(length, ChunkSize));
            if (count == ChunkSize) leaf.Chunks[IndexOf(offset)] = _base is null ? null : s_zeros;
            else if (_base is not null || Find(offset) is not null) Own(offset, isWhole: false).AsSpan(inside, count).Clear();
            (offset, length) = (offset + (ulong)count, length - (ulong)count);
        }
    }

    Leaf OwnLeaf(ulong offset)
    {
        ref Leaf? leaf = ref _leaves[offset / LeafSize];
        if (leaf is null) leaf = new Leaf(new Chunk?[LeafChunks], _owner);
        else if (leaf.Owner != _owner) leaf = new Leaf((Chunk?[])leaf.Chunks.Clone(), _owner);
        return leaf;
    }

    /// <summary>The bytes of a chunk that is this image's alone, to be written.</summary>
    /// <param name="isWhole">All of it will be written, so what was there does not matter.</param>
    byte[] Own(ulong offset, bool isWhole)
    {
        ref Chunk? chunk = ref OwnLeaf(offset).Chunks[IndexOf(offset)];
        if (chunk is null || chunk.Owner != _owner)
        {
            byte[] bytes = new byte[ChunkSize];
            if (!isWhole && chunk is not null) chunk.Bytes.CopyTo(bytes, 0);
            else if (!isWhole) ReadBase(offset & ~(ulong)(ChunkSize - 1), bytes);
            chunk = new Chunk(bytes, _owner);
        }
        chunk.Hash = 0;
        return chunk.Bytes;
    }
}
