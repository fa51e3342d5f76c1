using System.Buffers.Binary;

namespace VmLab.Guests.Compression;

/// <summary>Undoes the x86 branch filter (BCJ): absolute targets of CALL and JMP become relative again.</summary>
/// <remarks>Over the whole at once, so that there are no buffer boundaries. Source: XZ Utils,
/// src/liblzma/simple/x86.c.</remarks>
static class X86BranchFilter
{
    const int OperandSize = 4, InstructionSize = 5;

    // By which of the three bytes before an opcode were opcodes too: whether its operand may be one, and which byte to
    // test.
    static ReadOnlySpan<bool> IsAllowed => [true, true, true, false, true, false, false, false];
    static ReadOnlySpan<byte> BitNumber => [0, 1, 2, 2, 3, 3, 3, 3];

    public static void Decode(Span<byte> code)
    {
        uint mask = 0;
        int previous = -1;                                          // position of the last opcode seen
        for (int i = 0; i <= code.Length - InstructionSize;)
        {
            if ((code[i] & 0xFE) != 0xE8)                           // CALL is E8, JMP is E9
            {
                i++;
                continue;
            }

            int distance = i - previous;
            previous = i;
            mask = distance > 3 ? 0 : mask << (distance - 1) & 7;
            if (mask != 0 && (!IsAllowed[(int)mask] || IsSignByte(code[i + OperandSize - BitNumber[(int)mask]])))
            {
                mask = mask << 1 | 1;
                i++;
                continue;
            }

            if (!IsSignByte(code[i + OperandSize]))
            {
                mask = mask << 1 | 1;
                i++;
                continue;
            }

            uint target = BinaryPrimitives.ReadUInt32LittleEndian(code[(i + 1)..]);
            BinaryPrimitives.WriteUInt32LittleEndian(code[(i + 1)..], Relative(target, i, mask));
            i += InstructionSize;
            mask = 0;
        }
    }

    static uint Relative(uint target, int position, uint mask)
    {
        while (true)
        {
            uint relative = target - (uint)(position + InstructionSize);
            int shift = BitNumber[(int)mask] * 8;
            if (mask == 0 || !IsSignByte((byte)(relative >> (24 - shift))))
                return (relative & 0x0100_0000) != 0 ? relative | 0xFF00_0000 : relative & 0x01FF_FFFF;
            target = relative ^ (1u << (32 - shift)) - 1;
        }
    }

    static bool IsSignByte(byte value) => value is 0x00 or 0xFF;
}
