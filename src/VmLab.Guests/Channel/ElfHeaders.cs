using System.Buffers.Binary;

namespace VmLab.Guests.Channel;

/// <summary>Makes a static Linux executable of code and room for variables.</summary>
/// <remarks>Source: System V ABI, "Object Files", ELF header and program header; AMD64 supplement.</remarks>
static class ElfHeaders
{
    const int ElfHeaderSize = 64, ProgramHeaderSize = 56, ProgramHeaders = 3;

    /// <summary>Bytes before the code, in the file and in memory.</summary>
    public const int Size = ElfHeaderSize + ProgramHeaders * ProgramHeaderSize;

    const uint Load = 1, GnuStack = 0x6474_E551;
    const uint Executable = 1, Writable = 2, Readable = 4;

    /// <param name="code">Its first byte is the entry point, at <paramref name="codeBase"/> +
    /// <see cref="Size"/>.</param>
    /// <param name="dataSize">Bytes of zeroed memory at <paramref name="dataBase"/>.</param>
    public static byte[] Wrap(ReadOnlySpan<byte> code, ulong codeBase, ulong dataBase, ulong dataSize)
    {
        byte[] file = new byte[Size + code.Length];
        // 64-bit, little-endian, version 1
        ReadOnlySpan<byte> identification = [0x7F, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1];
        identification.CopyTo(file);
        Word(file, 16, 2);                                          // executable
        Word(file, 18, 62);                                         // x86-64
        Long(file, 20, 1);
        Quad(file, 24, codeBase + Size);                            // entry
        Quad(file, 32, ElfHeaderSize);                              // where the program headers are
        Word(file, 52, ElfHeaderSize);
        Word(file, 54, ProgramHeaderSize);
        Word(file, 56, ProgramHeaders);

        ProgramHeader(file, 0, Load, Readable | Executable, codeBase, (ulong)file.Length, (ulong)file.Length);
        ProgramHeader(file, 1, Load, Readable | Writable, dataBase, 0, dataSize);
        ProgramHeader(file, 2, GnuStack, Readable | Writable, 0, 0, 0);
        code.CopyTo(file.AsSpan(Size));
        return file;
    }

    static void ProgramHeader(
        byte[] file, int index, uint kind, uint flags, ulong address, ulong fileSize, ulong memorySize)
    {
        int start = ElfHeaderSize + index * ProgramHeaderSize;
        Long(file, start, kind);
        Long(file, start + 4, flags);
        Quad(file, start + 16, address);
        Quad(file, start + 24, address);
        Quad(file, start + 32, fileSize);
        Quad(file, start + 40, memorySize);
        Quad(file, start + 48, 0x1000);
    }

    static void Word(byte[] file, int offset, ushort value) =>
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(offset), value);

    static void Long(byte[] file, int offset, uint value) =>
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(offset), value);

    static void Quad(byte[] file, int offset, ulong value) =>
        BinaryPrimitives.WriteUInt64LittleEndian(file.AsSpan(offset), value);
}
