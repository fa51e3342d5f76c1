using System.Buffers.Binary;
using VmLab.Core;

namespace VmLab.Guests;

/// <summary>A 64-bit x86 ELF executable, as far as a boot loader reads it: segments to load, and where to
/// enter.</summary>
/// <remarks>Source: System V ABI, "Object Files", ELF header and program header; AMD64 supplement.</remarks>
public sealed class ElfImage
{
    const int HeaderSize = 64, ProgramHeaderSize = 56, MostSegments = 64;
    const int Class = 4, Encoding = 5, Machine = 18, Entry = 24, ProgramHeaders = 32, SectionHeaders = 40,
              ProgramHeaderSizeField = 54, ProgramHeaderCount = 56, SectionHeaderSizeField = 58,
              SectionHeaderCount = 60;
    const byte Class64 = 2, LittleEndian = 1;
    const ushort X8664 = 62;
    const uint Loadable = 1;

    readonly byte[] _image;

    ElfImage(byte[] image, ulong entry, IReadOnlyList<Segment> segments)
    {
        _image = image;
        EntryAddress = entry;
        Segments = segments;
    }

    /// <param name="Offset">Where in the file its bytes lie.</param>
    /// <param name="FileSize">Bytes from the file.</param>
    /// <param name="Address">Physical address to load it at.</param>
    /// <param name="VirtualAddress">Address that its code believes to run at.</param>
    /// <param name="MemorySize">Bytes in memory; those past <paramref name="FileSize"/> are zero.</param>
    public readonly record struct Segment(
        int Offset, int FileSize, ulong Address, ulong VirtualAddress, ulong MemorySize)
    {
        public ulong End => Address + MemorySize;
    }

    /// <summary>The entry point as the file gives it: of a vmlinux, a physical address.</summary>
    public ulong EntryAddress { get; }

    /// <summary>The loadable segments, in the order of the file.</summary>
    public IReadOnlyList<Segment> Segments { get; }

    /// <summary>First byte past the highest segment, as a physical address.</summary>
    public ulong End => Segments.Max(segment => segment.End);

    /// <summary>Lowest physical address of a segment.</summary>
    public ulong Start => Segments.Min(segment => segment.Address);

    /// <summary>What follows the image in its file: past its section headers, which linkers put last, or else past its
    /// segments.</summary>
    public ReadOnlySpan<byte> Appended
    {
        get
        {
            ulong sections = Quad(_image, SectionHeaders);
            ulong end = sections > 0
                ? sections + (ulong)(Word(_image, SectionHeaderCount) * Word(_image, SectionHeaderSizeField))
                : (ulong)Segments.Max(segment => segment.Offset + segment.FileSize);
            return end <= (ulong)_image.Length ? _image.AsSpan((int)end) : [];
        }
    }

    public static bool IsElf(ReadOnlySpan<byte> image) => image.StartsWith("\u007FELF"u8);

    /// <param name="name">How messages call the image.</param>
    /// <exception cref="LabException">Not a 64-bit x86 executable, or truncated, or with segments out of
    /// bounds.</exception>
    public static ElfImage Parse(byte[] image, string name)
    {
        if (!IsElf(image)) throw new LabException($"{name} is not an ELF file.");
        if (image.Length < HeaderSize) throw Damaged(name, "its header is truncated");
        if (image[Class] != Class64 || image[Encoding] != LittleEndian || Word(image, Machine) != X8664)
            throw new LabException($"{name} is an ELF file, but not for x86-64. Give one for amd64.");

        ulong table = Quad(image, ProgramHeaders);
        int count = Word(image, ProgramHeaderCount);
        if (count > MostSegments || Word(image, ProgramHeaderSizeField) != ProgramHeaderSize)
            throw Damaged(name, "its program header table makes no sense");
        if (table > (ulong)image.Length || (ulong)(count * ProgramHeaderSize) > (ulong)image.Length - table)
            throw Damaged(name, "it ends before its program headers");

        var segments = new List<Segment>();
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> header = image.AsSpan((int)table + i * ProgramHeaderSize, ProgramHeaderSize);
            if (BinaryPrimitives.ReadUInt32LittleEndian(header) == Loadable)
                segments.Add(ReadSegment(image, header, name));
        }
        if (segments.Count == 0) throw Damaged(name, "it has no segment to load");
        return new ElfImage(image, Quad(image, Entry), segments);
    }

    /// <summary>Writes every segment to its physical address. Memory past a segment's file bytes must be zero
    /// already.</summary>
    /// <param name="moved">Added to every address, in bytes; the moved segments lie in RAM.</param>
    /// <exception cref="LabException">A segment lies outside RAM.</exception>
    public void Load(GuestMemory memory, string name, ulong moved = 0)
    {
        ulong top = memory.Ranges.First().Length;
        if (End > top)
            throw new LabException(
                $"{name} needs memory up to {new ByteSize(End)}, and the machine has {memory.Size}. "
                + "Give the machine more memory.");
        foreach (Segment segment in Segments)
            memory.Write(segment.Address + moved, _image.AsSpan(segment.Offset, segment.FileSize));
    }

    static Segment ReadSegment(byte[] image, ReadOnlySpan<byte> header, string name)
    {
        ulong offset = Quad(header, 8), virtualAddress = Quad(header, 16), address = Quad(header, 24),
              fileSize = Quad(header, 32), memorySize = Quad(header, 40);
        if (offset > (ulong)image.Length || fileSize > (ulong)image.Length - offset)
            throw Damaged(name, "it ends before its segments");
        if (fileSize > memorySize || address > GuestMemory.LowTop || memorySize > GuestMemory.LowTop - address)
            throw Damaged(name, "a segment's addresses make no sense");
        return new Segment((int)offset, (int)fileSize, address, virtualAddress, memorySize);
    }

    static LabException Damaged(string name, string what) =>
        new($"{name} is a damaged ELF file: {what}. Fetch it again.");

    static ushort Word(ReadOnlySpan<byte> bytes, int offset) =>
        BinaryPrimitives.ReadUInt16LittleEndian(bytes[offset..]);

    static ulong Quad(ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt64LittleEndian(bytes[offset..]);
}
