using Iced.Intel;
using VmLab.Core;

namespace VmLab.X86.Oracle;

/// <summary>Draws the bytes of a form: any prefixes, registers, addresses and immediates that still decode as the form.</summary>
static class EncodingDraw
{
    const int LongestInstruction = 15, MaxAttempts = 20_000;

    static readonly byte[] s_segments = [0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x64, 0x65];
    static readonly byte[] s_noise = [0x66, 0x67, 0xF2, 0xF3, 0xF0, 0x66, 0x67];
    static readonly byte[] s_edges = [0, 1, 0x7F, 0x80, 0xFF];

    /// <returns><see langword="false"/> when no draw is the form's.</returns>
    public static bool TryDraw(Form form, ref Rng rng, Span<byte> code, out Instruction instruction)
    {
        OpCodeInfo info = form.Code.ToOpCode();
        Span<byte> bytes = stackalloc byte[LongestInstruction + 8];
        for (int attempt = 0; attempt < MaxAttempts; attempt++)
        {
            Write(info, form.Bitness, ref rng, bytes);
            instruction = Decode(bytes[..LongestInstruction], form.Bitness, options: Features.Decoding);
            if (instruction.Code != form.Code) continue;
            bytes[..instruction.Length].CopyTo(code);
            return true;
        }
        instruction = default;
        return false;
    }

    /// <summary>Decodes as a processor does that has what is announced.</summary>
    public static Instruction Decode(ReadOnlySpan<byte> bytes, int bitness, ulong address = 0, DecoderOptions options = Features.Running)
    {
        var decoder = Decoder.Create(bitness, bytes.ToArray(), address, options);
        return decoder.Decode();
    }

    static void Write(OpCodeInfo info, int bitness, ref Rng rng, Span<byte> bytes)
    {
        int length = 0;
        if (rng.NextBelow(6) == 0) bytes[length++] = s_segments[rng.NextBelow((ulong)s_segments.Length)];
        if (rng.NextBelow(8) == 0) bytes[length++] = s_noise[rng.NextBelow((ulong)s_noise.Length)];
        if (info.CanUseLockPrefix && rng.NextBelow(4) == 0) bytes[length++] = 0xF0;
        if (info.CanUseRepPrefix && rng.NextBelow(3) == 0) bytes[length++] = 0xF3;
        if (info.CanUseRepnePrefix && rng.NextBelow(4) == 0) bytes[length++] = 0xF2;
        if (info.AddressSize != 0 && info.AddressSize != bitness) bytes[length++] = 0x67;
        bool isOther = info.OperandSize == 16 || info.OperandSize == 0 && rng.NextBelow(10) == 0;
        if (isOther) bytes[length++] = 0x66;
        switch (info.MandatoryPrefix)
        {
            case MandatoryPrefix.P66: bytes[length++] = 0x66; break;
            case MandatoryPrefix.PF3: bytes[length++] = 0xF3; break;
            case MandatoryPrefix.PF2: bytes[length++] = 0xF2; break;
        }
        if (bitness == 64 && (info.OperandSize == 64 || rng.NextBelow(2) == 0))
        {
            bool isWide = info.OperandSize == 64 && rng.NextBelow(8) != 0 || rng.NextBelow(8) == 0;
            bytes[length++] = (byte)(0x40 | (isWide ? 8 : 0) | (int)rng.NextBelow(8));
        }
        ReadOnlySpan<byte> escape = info.Table switch
        {
            OpCodeTableKind.T0F => [0x0F],
            OpCodeTableKind.T0F38 => [0x0F, 0x38],
            OpCodeTableKind.T0F3A => [0x0F, 0x3A],
            _ => [],
        };
        escape.CopyTo(bytes[length..]);
        length += escape.Length;
        if (info.OpCodeLength == 2) bytes[length++] = (byte)(info.OpCode >> 8);
        bytes[length++] = (byte)(info.OpCode + (HasRegisterInOpcode(info) ? rng.NextBelow(8) : 0));
        int tail = length;
        while (length < bytes.Length) bytes[length++] = rng.NextBelow(3) == 0 ? s_edges[rng.NextBelow(5)] : (byte)rng.Next();
        // Where there is a ModRM byte it is the first of the tail.
        if (info.GroupIndex >= 0) bytes[tail] = (byte)(bytes[tail] & 0xC7 | info.GroupIndex << 3);
        if (info.RmGroupIndex >= 0) bytes[tail] = (byte)(bytes[tail] & 0xF8 | info.RmGroupIndex);
    }

    static bool HasRegisterInOpcode(OpCodeInfo info)
    {
        for (int i = 0; i < info.OpCount; i++)
            if (info.GetOpKind(i) is OpCodeOperandKind.r8_opcode or OpCodeOperandKind.r16_opcode or OpCodeOperandKind.r32_opcode
                or OpCodeOperandKind.r64_opcode or OpCodeOperandKind.sti_opcode)
                return true;
        return false;
    }
}
