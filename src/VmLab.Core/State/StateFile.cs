using System.Buffers.Binary;
using System.IO.Hashing;

namespace VmLab.Core;

/// <summary>A file of records and pages, whole or not there at all, and refused where one bit of it is another.</summary>
/// <remarks>
/// Little-endian: eight bytes <c>VmMoment</c>, version (4), pages (4), bytes of records (8), XXH128 of the pages (16), XXH128 of all
/// before it and of the records (16); the records; zeros up to a multiple of 4 KiB; the pages. Pages are neither compressed nor zero,
/// so that the file is mapped, not read: machines that grow from it share the host's page cache.
/// </remarks>
public static class StateFile
{
    const int Version = 2, PageSize = FramePool.FrameSize;
    const int VersionAt = 8, PagesAt = 12, RecordsAt = 16, PageHashAt = 24, HashAt = 40, HeaderSize = 56, HashSize = 16;

    static ReadOnlySpan<byte> Magic => "VmMoment"u8;

    /// <summary>Writes the file under another name, and gives it its own once it is on the disk.</summary>
    /// <returns>The hash that names the file by what is in it.</returns>
    /// <exception cref="LabException">It cannot be written; what was there before stays.</exception>
    public static UInt128 Write(string path, ReadOnlySpan<byte> records, PageList pages)
    {
        string draft = path + ".new";
        Span<byte> header = stackalloc byte[HeaderSize];
        MakeHeader(header, records, pages);
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
            using (var file = new FileStream(draft, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 20))
            {
                file.Write(header);
                file.Write(records);
                file.Write(new byte[(int)(PagesFrom(records.Length) - HeaderSize - records.Length)]);
                foreach (PageSource page in pages.Pages) file.Write(page.Bytes);
                file.Flush(flushToDisk: true);
            }
            File.Move(draft, path, overwrite: true);
            return HashIn(header);
        }
        catch (Exception cause) when (cause is IOException or UnauthorizedAccessException)
        {
            throw new LabException($"The moment cannot be written to {path}: {cause.Message}", cause);
        }
    }

    /// <summary>The hash that a file says it has, which nothing else of it is held against.</summary>
    /// <exception cref="LabException">It cannot be read.</exception>
    public static UInt128 HashOf(string path)
    {
        using MappedFile file = Map(path);
        return file.Length < HeaderSize ? throw new LabException($"{path} is no moment of VmLab.") : HashIn(file.Span(0, HeaderSize));
    }

    /// <summary>Opens a file, and checks all of it. Its pages are in no pool yet.</summary>
    /// <param name="hash">What <see cref="Write"/> returned.</param>
    /// <exception cref="LabException">It is no such file, or of another version, or damaged.</exception>
    public static unsafe RecordReader Open(string path, out UInt128 hash)
    {
        MappedFile file = Map(path);
        try
        {
            var (records, pages) = Check(file);
            long pagesFrom = PagesFrom(records);
            byte[] bytes = file.Span(HeaderSize, records).ToArray();
            hash = HashIn(file.Span(0, HeaderSize));
            return new RecordReader(bytes, new MappedPages(file.Start + pagesFrom, pages, file));
        }
        catch (LabException)
        {
            file.Dispose();
            throw;
        }
    }

    static MappedFile Map(string path)
    {
        try
        {
            return new MappedFile(path);
        }
        catch (Exception cause) when (cause is IOException or UnauthorizedAccessException)
        {
            throw new LabException($"The moment {path} cannot be read: {cause.Message}", cause);
        }
    }

    static UInt128 HashIn(ReadOnlySpan<byte> header) => BinaryPrimitives.ReadUInt128BigEndian(header[HashAt..]);

    static void MakeHeader(Span<byte> header, ReadOnlySpan<byte> records, PageList pages)
    {
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt32LittleEndian(header[VersionAt..], Version);
        BinaryPrimitives.WriteInt32LittleEndian(header[PagesAt..], pages.Pages.Count);
        BinaryPrimitives.WriteInt64LittleEndian(header[RecordsAt..], records.Length);
        var hash = new XxHash128();
        foreach (PageSource page in pages.Pages) hash.Append(page.Bytes);
        hash.GetCurrentHash(header[PageHashAt..]);
        SealHeader(header, records);
    }

    static void SealHeader(Span<byte> header, ReadOnlySpan<byte> records)
    {
        var hash = new XxHash128();
        hash.Append(header[..HashAt]);
        hash.Append(records);
        hash.GetCurrentHash(header[HashAt..]);
    }

    static unsafe (int Records, int Pages) Check(MappedFile file)
    {
        if (file.Length < HeaderSize || !file.Span(0, Magic.Length).SequenceEqual(Magic)) throw new LabException("It is no moment of VmLab.");
        ReadOnlySpan<byte> header = file.Span(0, HeaderSize);
        int version = BinaryPrimitives.ReadInt32LittleEndian(header[VersionAt..]), pages = BinaryPrimitives.ReadInt32LittleEndian(header[PagesAt..]);
        long records = BinaryPrimitives.ReadInt64LittleEndian(header[RecordsAt..]);
        if (version != Version) throw new LabException($"It is a moment of version {version}, and this VmLab reads version {Version}.");
        if (pages < 0 || records < 0 || records > Array.MaxLength || PagesFrom(records) + (long)pages * PageSize != file.Length)
            throw new LabException($"It has {file.Length} bytes and should have others: it was cut off, or it is damaged.");

        Span<byte> sealedHeader = stackalloc byte[HeaderSize];
        header.CopyTo(sealedHeader);
        SealHeader(sealedHeader, file.Span(HeaderSize, (int)records));
        bool isWhole = sealedHeader.SequenceEqual(header)
            && !file.Span(HeaderSize + records, (int)(PagesFrom(records) - HeaderSize - records)).ContainsAnyExcept((byte)0);
        var hash = new XxHash128();
        const int Most = 1 << 30;
        for (long at = PagesFrom(records); at < file.Length; at += Most) hash.Append(file.Span(at, (int)Math.Min(Most, file.Length - at)));
        if (!isWhole || !hash.GetCurrentHash().AsSpan().SequenceEqual(header.Slice(PageHashAt, HashSize)))
            throw new LabException("It is damaged: its checksum is not that of its bytes.");
        return ((int)records, pages);
    }

    static long PagesFrom(long records) => (HeaderSize + records + PageSize - 1) / PageSize * PageSize;
}
