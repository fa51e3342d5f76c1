using Iced.Intel;

namespace VmLab.X86.Tests.Fuzz;

/// <summary>Writes code that nobody meant: bytes, and valid instructions of every kind, privileged ones most of all.</summary>
sealed class HostileCode(Random random, int bitness)
{
    static readonly Code[] s_all = [.. Enum.GetValues<Code>().Where(code => code != Code.INVALID)];
    static readonly Code[] s_privileged = [.. s_all.Where(IsOfSystem)];

    public byte[] Write(int length)
    {
        var bytes = new byte[length];
        random.NextBytes(bytes);
        int at = 0;
        while (at < length - 16)
            at += random.Next(3) switch
            {
                0 => Noise(bytes.AsSpan(at)),
                1 => Instruction(s_privileged, bytes.AsSpan(at)),
                _ => Instruction(s_all, bytes.AsSpan(at)),
            };
        return bytes;
    }

    // Pure noise is mostly faults: common opcodes and prefixes come more often.
    int Noise(Span<byte> bytes)
    {
        ReadOnlySpan<byte> common =
            [0x0F, 0x48, 0x66, 0x89, 0x8B, 0x01, 0xF3, 0xF2, 0xA4, 0xAB, 0x90, 0xC3, 0xE8, 0x75, 0xEB, 0x50, 0x58,
             0xFF, 0xD8, 0xDD, 0x67, 0xF0, 0x65, 0x9A, 0xCF];
        int length = random.Next(1, 8);
        for (int i = 0; i < length; i++) if (random.Next(2) == 0) bytes[i] = common[random.Next(common.Length)];
        return length;
    }

    /// <summary>
    /// An instruction's opcode as its table has it, with whatever prefixes and operand bytes come: ModRM, displacement,
    /// immediate.
    /// </summary>
    int Instruction(Code[] codes, Span<byte> bytes)
    {
        OpCodeInfo info = codes[random.Next(codes.Length)].ToOpCode();
        if (!info.IsInstruction || info.Encoding != EncodingKind.Legacy) return 0;
        if (bitness == 64 ? !info.Mode64 : !info.Mode32) return 0;
        int at = 0;
        if (info.MandatoryPrefix is var prefix and not (MandatoryPrefix.None or MandatoryPrefix.PNP))
            bytes[at++] = prefix switch { MandatoryPrefix.P66 => 0x66, MandatoryPrefix.PF3 => 0xF3, _ => 0xF2 };
        if (bitness == 64 && random.Next(3) == 0) bytes[at++] = (byte)(0x40 | random.Next(16));
        if (info.Table != OpCodeTableKind.Normal) bytes[at++] = 0x0F;
        if (info.Table == OpCodeTableKind.T0F38) bytes[at++] = 0x38;
        if (info.Table == OpCodeTableKind.T0F3A) bytes[at++] = 0x3A;
        if (info.OpCodeLength == 2) bytes[at++] = (byte)(info.OpCode >> 8);
        bytes[at++] = (byte)info.OpCode;
        if (info.IsGroup) bytes[at] = (byte)(bytes[at] & ~0x38 | info.GroupIndex << 3);
        return at + random.Next(1, 6);
    }

    static bool IsOfSystem(Code code) => code.ToOpCode() is var info
        && (info.IsPrivileged || info.IsSaveRestore || info.IsStackInstruction
            || code.FlowControl() is not FlowControl.Next);
}
