using System.Security.Cryptography;
using VmLab.Core;
using VmLab.Machines;

namespace VmLab.Introspection;

/// <summary>A Linux kernel found in a guest's memory: its symbol tables, and where they lie.</summary>
sealed class KernelImage
{
    const int ChunkSize = 1 << 20, MostDigits = 1000, MostTables = 16, MostTypes = 64 << 20;

    static readonly ByContent<Btf> s_types = new();

    readonly ulong _tokensAt, _baseAt;
    readonly byte[] _tokens;
    Btf? _types;
    ulong? _tables;

    KernelImage(Kallsyms kallsyms, ulong tokensAt, byte[] tokens, ulong baseAt)
    {
        Kallsyms = kallsyms;
        _tokensAt = tokensAt;
        _tokens = tokens;
        _baseAt = baseAt;
    }

    public Kallsyms Kallsyms { get; }

    /// <summary>Whether the tables lie where they were found, and are of the same kernel at the same address.</summary>
    public bool IsStillIn(GuestMemory ram)
    {
        byte[] tokens = new byte[_tokens.Length];
        ram.Read(_tokensAt, tokens);
        return tokens.AsSpan().SequenceEqual(_tokens) && ram.Read64(_baseAt) == Kallsyms.Base;
    }

    /// <summary>
    /// Finds the kernel that runs: of several images, such as what a decompressor left behind, the one that is mapped.
    /// </summary>
    /// <returns><see langword="null"/>: no RAM holds whole tables.</returns>
    public static KernelImage? Find(GuestMemory ram, LinearMemory linear)
    {
        KernelImage? first = null;
        foreach (KernelImage image in Search(ram).Take(MostTables))
        {
            if (image.IsMapped(linear)) return image;
            first ??= image;
        }
        return first;
    }

    /// <summary>The kernel's type information; <see langword="null"/> where there is none.</summary>
    public Btf? Types(LinearMemory linear)
    {
        if (_types is not null) return _types;
        bool isThere = Kallsyms.TryFind("__start_BTF", out ulong start) & Kallsyms.TryFind("__stop_BTF", out ulong stop);
        if (!isThere || stop - start > MostTypes) return null;
        if (DigestOf(linear, start, stop) is not { } digest) return null;
        if (s_types.TryFind(digest, out _types)) return _types;
        byte[] bytes = new byte[stop - start];
        return linear.TryRead(start, bytes) && Btf.TryParse(bytes) is { } types ? _types = s_types.Keep(digest, types) : null;
    }

    /// <summary>The list of modules, by the kernel's type information; <see langword="null"/> where there is none.</summary>
    public KernelModules? Modules(LinearMemory linear) =>
        Kallsyms.TryFind("modules", out ulong head) && Types(linear) is { } types ? KernelModules.TryCreate(types, head) : null;

    /// <summary>
    /// The kernel's own address space, from which those of processes copy: whole, whatever the processor is at. Where the kernel
    /// has not set it up yet, it is the processor's.
    /// </summary>
    public LinearMemory Space(LinearMemory linear)
    {
        // With page-table isolation, a processor in user mode has the kernel's half in the page before its own.
        const ulong UserTables = 1UL << GuestMemory.PageShift;
        if (_tables is null && Kallsyms.TryFind("init_top_pgt", out ulong top))
        {
            bool isFound = linear.TryTranslate(top, out ulong physical)
                || linear.WithTables(linear.Tables & ~UserTables).TryTranslate(top, out physical);
            if (isFound && IsMapped(linear.WithTables(physical))) _tables = physical;
        }
        return _tables is { } tables ? linear.WithTables(tables) : linear;
    }

    static IEnumerable<KernelImage> Search(GuestMemory ram)
    {
        foreach (ulong digits in DigitsIn(ram).Take(MostDigits))
        {
            ulong from = digits - Math.Min(digits, (ulong)TokenTable.Reach) & ~7UL;
            if (TokenTable.TryParse(Bytes(ram, from, 2 * TokenTable.Reach), (int)(digits - from)) is not { } near) continue;

            ulong tokensAt = from + (ulong)near.Start;
            ulong first = tokensAt - Math.Min(tokensAt, (ulong)Kallsyms.BytesBefore);
            int start = (int)(tokensAt - first), length = near.End - near.Start;
            byte[] around = Bytes(ram, first, start + length + Kallsyms.BytesBehind);
            if (Kallsyms.TryParse(around, near.MovedTo(start)) is not { } kallsyms) continue;
            yield return new KernelImage(kallsyms, tokensAt, around[start..(start + length)], first + (ulong)kallsyms.BaseAt);
        }
    }

    /// <summary>Physical addresses of what every token table holds.</summary>
    static IEnumerable<ulong> DigitsIn(GuestMemory ram)
    {
        byte[] chunk = new byte[ChunkSize + TokenTable.Digits.Length - 1];
        foreach (var (start, length) in ram.Ranges)
            for (ulong at = start; at < start + length; at += ChunkSize)
            {
                if (IsUntouched(ram, at)) continue;
                ram.Read(at, chunk);
                for (int next = 0, found; (found = chunk.AsSpan(next).IndexOf(TokenTable.Digits)) >= 0; next += found + 1)
                    yield return at + (ulong)(next + found);
            }
    }

    /// <summary>Whether a chunk and the page behind it are zero because nobody ever wrote there.</summary>
    static bool IsUntouched(GuestMemory ram, ulong at)
    {
        const uint ZeroFrame = 0;
        for (ulong page = at >> GuestMemory.PageShift; page <= (at + ChunkSize) >> GuestMemory.PageShift; page++)
            if (ram.IsRam(page) && ram.FrameOf(page) != ZeroFrame) return false;
        return true;
    }

    static string? DigestOf(LinearMemory linear, ulong start, ulong stop)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] part = new byte[1 << 16];
        for (ulong at = start; at < stop; at += (ulong)part.Length)
        {
            Span<byte> read = part.AsSpan(0, (int)Math.Min((ulong)part.Length, stop - at));
            if (!linear.TryRead(at, read)) return null;
            hash.AppendData(read);
        }
        return Convert.ToHexString(hash.GetHashAndReset());
    }

    static byte[] Bytes(GuestMemory ram, ulong from, int length)
    {
        byte[] bytes = new byte[length];
        ram.Read(from, bytes);
        return bytes;
    }

    bool IsMapped(LinearMemory linear)
    {
        ReadOnlySpan<byte> expected = "Linux version "u8;
        Span<byte> banner = stackalloc byte[expected.Length];
        return Kallsyms.TryFind("linux_banner", out ulong address) && linear.TryRead(address, banner) && banner.SequenceEqual(expected);
    }
}
