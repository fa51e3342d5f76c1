using Iced.Intel;
using VmLab.Core;

namespace VmLab.X86.Oracle;

/// <summary>Draws cases: a form in turn, or random bytes, and a state for it.</summary>
public sealed unsafe class CaseDraw(ulong seed)
{
    /// <summary>A case in so many is random bytes.</summary>
    const ulong RandomBytesEvery = 4;

    const int LongestInstruction = 15;

    // Prefixes and opcodes that lead to others: pure noise would mostly be one-byte instructions.
    static readonly byte[] s_common = [0x0F, 0x66, 0xF2, 0xF3, 0x48, 0x41, 0x67, 0x64, 0x0F, 0xD9, 0xDB, 0xDF, 0xF0, 0x8B, 0xFF, 0x0F];

    readonly ulong[] _pattern = Pattern(seed);

    /// <summary>What every case finds in the page that it cannot write.</summary>
    public byte[] ReadOnlyPage => System.Runtime.InteropServices.MemoryMarshal.AsBytes(_pattern.AsSpan(0, CaseLayout.PageSize / 8)).ToArray();

    /// <returns><see langword="null"/> when the form cannot be drawn, or is none to run on a host.</returns>
    public Case? Draw(ulong number, CpuImage* image)
    {
        var rng = Rng.FromSeed(seed * 0x9E37_79B9_7F4A_7C15 + number);
        Span<byte> code = stackalloc byte[LongestInstruction + 1];
        Form? form = null;
        int bitness;
        if (number % RandomBytesEvery == RandomBytesEvery - 1)
        {
            bitness = rng.NextBelow(2) == 0 ? 64 : 32;
            foreach (ref byte value in code) value = (byte)rng.Next();
            for (int i = 0; i < 3 && rng.NextBelow(2) == 0; i++) code[i] = s_common[rng.NextBelow((ulong)s_common.Length)];
        }
        else
        {
            ulong turn = number - number / RandomBytesEvery;
            form = Forms.Announced[(int)(turn % (ulong)Forms.Announced.Count)];
            bitness = form.Value.Bitness;
            if (!EncodingDraw.TryDraw(form.Value, ref rng, code, out _)) return null;
        }
        return Place(number, form, bitness, code[..LongestInstruction], ref rng, image);
    }

    Case? Place(ulong number, Form? form, int bitness, Span<byte> code, ref Rng rng, CpuImage* image)
    {
        Instruction instruction = EncodingDraw.Decode(code, bitness);
        if (Features.LeavesProgram(EncodingDraw.Decode(code, bitness, options: Features.Newest).Code)) return null;
        int length = instruction.IsInvalid ? LongestInstruction : instruction.Length;
        ulong rip = Address(length, ref rng);
        *image = default;
        image->Rip = rip;
        image->CodeAddress = ulong.Min(rip, CaseLayout.Code + CaseLayout.CodeSize - CpuImage.CodeLength);
        fixed (ulong* pattern = _pattern) Buffer.MemoryCopy(pattern, image->Memory, CaseLayout.WritableSize, CaseLayout.WritableSize);
        var state = new StateDraw(image, bitness);
        state.Draw(instruction, rip, code, ref rng);

        new Span<byte>(image->Code, CpuImage.CodeLength).Fill(CaseLayout.Filler);
        var there = new Span<byte>(image->Code, CpuImage.CodeLength)[(int)(rip - image->CodeAddress)..];
        Span<byte> bytes = code[..int.Min(length, there.Length)];
        bytes.CopyTo(there);
        // What follows a fault or a trap is not run, so what stands behind is part of the case only where it is decoded.
        return new Case(seed, number, form, bitness, code[..length].ToArray(),
            EncodingDraw.Decode(code, bitness, rip), EncodingDraw.Decode(code, bitness, rip, Features.Newest));
    }

    /// <summary>Anywhere; often across the two pages, or up to the last byte, or beyond it.</summary>
    static ulong Address(int length, ref Rng rng)
    {
        const ulong Middle = CaseLayout.Code + CaseLayout.PageSize, End = CaseLayout.Code + CaseLayout.CodeSize;
        ulong before = 1 + rng.NextBelow((ulong)length);
        return rng.NextBelow(16) switch
        {
            0 or 1 or 2 => Middle - before,
            3 => End - (ulong)length,
            4 => End - before,
            _ => CaseLayout.Code + rng.NextBelow(CaseLayout.CodeSize - CpuImage.CodeLength),
        };
    }

    static ulong[] Pattern(ulong seed)
    {
        var rng = Rng.FromSeed(seed);
        var words = new ulong[CaseLayout.WritableSize / 8];
        foreach (ref ulong word in words.AsSpan()) word = Values.Word(ref rng);
        return words;
    }
}
