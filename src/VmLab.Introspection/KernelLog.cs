using System.Collections;
using System.Text;
using static System.Buffers.Binary.BinaryPrimitives;

namespace VmLab.Introspection;

/// <summary>What a guest's kernel logged, as its own buffer held it at an instant; what is overwritten is gone.</summary>
public sealed class KernelLog : IReadOnlyList<KernelLogEntry>
{
    readonly List<KernelLogEntry> _entries;

    internal KernelLog(List<KernelLogEntry> entries) => _entries = entries;

    public int Count => _entries.Count;

    /// <summary>As dmesg prints it.</summary>
    public string Text => string.Concat(_entries.Select(entry => $"{entry}\n"));

    public KernelLogEntry this[int index] => _entries[index];

    public IEnumerator<KernelLogEntry> GetEnumerator() => _entries.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    public override string ToString() => Text;

    /// <summary>Reads the kernel's ring of records.</summary>
    /// <remarks>
    /// A record that is being written is left out; the text of one may have been overwritten, and then it is, too.
    /// Source: Linux 6.1, kernel/printk/printk_ringbuffer.h and .c, "Data Structure", "prb_read".
    /// </remarks>
    internal static KernelLog Read(LinuxKernel kernel)
    {
        kernel.TryRead(kernel.Symbol("prb"), size: 8, out ulong ring);
        return new Reader(kernel, ring).Read();
    }

    sealed class Reader
    {
        const int MostCountBits = 18, MostSizeBits = 26, LargestStructure = 1024, StateShift = 62;
        const ulong Committed = 1, Finalized = 2, NoText = 1;

        readonly LinuxKernel _kernel;
        readonly ulong _tail, _head;
        readonly byte[] _states, _infos, _text;

        public Reader(LinuxKernel kernel, ulong ring)
        {
            _kernel = kernel;
            ulong countBits = Field(ring, "desc_ring.count_bits"), sizeBits = Field(ring, "text_data_ring.size_bits");
            bool isEmpty = countBits is 0 or > MostCountBits || sizeBits is 0 or > MostSizeBits;
            int count = isEmpty ? 0 : 1 << (int)countBits, size = isEmpty ? 0 : 1 << (int)sizeBits;
            _tail = Field(ring, "desc_ring.tail_id.counter");
            _head = Field(ring, "desc_ring.head_id.counter");
            Count = (uint)count;
            _states = Bytes(Field(ring, "desc_ring.descs"), count * SizeOf("prb_desc"));
            _infos = Bytes(Field(ring, "desc_ring.infos"), count * SizeOf("printk_info"));
            _text = Bytes(Field(ring, "text_data_ring.data"), size);
        }

        uint Count { get; }

        public KernelLog Read()
        {
            var entries = new List<KernelLogEntry>();
            if (_states.Length == 0 || _infos.Length == 0 || _text.Length == 0) return new KernelLog(entries);
            BtfMember state = _kernel.Member("prb_desc", "state_var.counter"), begin = _kernel.Member("prb_desc", "text_blk_lpos.begin"),
                next = _kernel.Member("prb_desc", "text_blk_lpos.next"), sequence = _kernel.Member("printk_info", "seq"),
                time = _kernel.Member("printk_info", "ts_nsec"), length = _kernel.Member("printk_info", "text_len"),
                facility = _kernel.Member("printk_info", "facility"), level = _kernel.Member("printk_info", "level");
            int descriptorSize = SizeOf("prb_desc"), infoSize = SizeOf("printk_info");

            const ulong IdBits = (1UL << StateShift) - 1;
            ulong records = Math.Min((_head - _tail & IdBits) + 1, Count);
            for (ulong i = 0; i < records; i++)
            {
                ulong id = _tail + i & IdBits;
                int index = (int)(id & Count - 1);
                ReadOnlySpan<byte> descriptor = _states.AsSpan(index * descriptorSize, descriptorSize);
                ReadOnlySpan<byte> info = _infos.AsSpan(index * infoSize, infoSize);
                ulong word = Value(descriptor, state);
                bool isWhole = (word & IdBits) == id && word >> StateShift is Committed or Finalized;
                if (!isWhole || TextOf(Value(descriptor, begin), Value(descriptor, next), (int)Value(info, length)) is not { } text) continue;
                entries.Add(new KernelLogEntry(
                    Value(info, sequence), TimeSpan.FromTicks((long)(Value(info, time) / 100)), (KernelLogLevel)Value(info, level),
                    (int)Value(info, facility), text));
            }
            return new KernelLog(entries);
        }

        /// <summary>A block lies between two logical positions; one that does not fit before the end begins at the start.</summary>
        string? TextOf(ulong begin, ulong next, int length)
        {
            const int IdSize = 8;
            if ((begin & NoText) != 0) return (next & NoText) != 0 && begin == next && length == 0 ? "" : null;
            ulong size = (ulong)_text.Length;
            bool isWrapped = begin / size != (next - 1) / size;
            ulong start = isWrapped ? 0 : begin % size, end = (next - 1) % size + 1;
            if (end < start + IdSize || isWrapped && begin / size + 1 != (next - 1) / size) return null;
            int room = (int)(end - start) - IdSize;
            return Encoding.UTF8.GetString(_text, (int)start + IdSize, Math.Min(length, room));
        }

        static ulong Value(ReadOnlySpan<byte> structure, BtfMember member)
        {
            Span<byte> bytes = stackalloc byte[8];
            bytes.Clear();
            int skipped = member.BitOffset % 8, size = Math.Min((skipped + member.BitSize + 7) / 8, 8);
            if (member.Offset + size > structure.Length) return 0;
            structure.Slice(member.Offset, size).CopyTo(bytes);
            ulong value = ReadUInt64LittleEndian(bytes) >> skipped;
            return member.BitSize < 64 ? value & (1UL << member.BitSize) - 1 : value;
        }

        ulong Field(ulong ring, string path)
        {
            _kernel.TryRead(ring, _kernel.Member("printk_ringbuffer", path), out ulong value);
            return value;
        }

        int SizeOf(string structure) =>
            _kernel.Types.Find(BtfKind.Structure, structure) is { } type && _kernel.Types.SizeOf(type) is > 0 and <= LargestStructure and var size
                ? size
                : 0;

        byte[] Bytes(ulong address, int length)
        {
            byte[] bytes = new byte[length];
            return _kernel.Memory.TryRead(address, bytes) ? bytes : [];
        }
    }
}
