using System.Buffers.Binary;

namespace VmLab.X86.Oracle;

/// <summary>Makes a static Linux executable of code. Source: System V ABI, "Object Files"; AMD64 supplement.</summary>
static class ElfFile
{
    const int FileHeaderSize = 64, ProgramHeaderSize = 56, ProgramHeaders = 2;
    const uint Load = 1, GnuStack = 0x6474_E551, Executable = 1, Writable = 2, Readable = 4;

    /// <summary>Bytes before the code, in the file and in memory.</summary>
    public const int HeaderSize = FileHeaderSize + ProgramHeaders * ProgramHeaderSize;

    /// <param name="code">Its first byte is the entry point, at <paramref name="address"/> + <see cref="HeaderSize"/>.</param>
    public static byte[] Wrap(ReadOnlySpan<byte> code, ulong address)
    {
        byte[] file = new byte[HeaderSize + code.Length];
        ReadOnlySpan<byte> identification = [0x7F, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1];   // 64-bit, little-endian, version 1
        identification.CopyTo(file);
        Half(file, 16, 2);                        // executable
        Half(file, 18, 62);                       // x86-64
        Word(file, 20, 1);
        Long(file, 24, address + HeaderSize);     // entry
        Long(file, 32, FileHeaderSize);           // where the program headers are
        Half(file, 52, FileHeaderSize);
        Half(file, 54, ProgramHeaderSize);
        Half(file, 56, ProgramHeaders);
        ProgramHeader(file, 0, Load, Readable | Executable, address, (ulong)file.Length);
        ProgramHeader(file, 1, GnuStack, Readable | Writable, 0, 0);   // no page is executable unless it says so
        code.CopyTo(file.AsSpan(HeaderSize));
        return file;
    }

    static void ProgramHeader(byte[] file, int index, uint kind, uint flags, ulong address, ulong size)
    {
        int start = FileHeaderSize + index * ProgramHeaderSize;
        Word(file, start, kind);
        Word(file, start + 4, flags);
        Long(file, start + 16, address);
        Long(file, start + 24, address);
        Long(file, start + 32, size);
        Long(file, start + 40, size);
        Long(file, start + 48, CaseLayout.PageSize);
    }

    static void Half(byte[] file, int offset, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(offset), value);
    static void Word(byte[] file, int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(offset), value);
    static void Long(byte[] file, int offset, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(file.AsSpan(offset), value);
}
