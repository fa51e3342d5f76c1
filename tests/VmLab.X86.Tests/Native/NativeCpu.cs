using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Native;

/// <summary>
/// One integer instruction on the host's processor: general registers, flags and a little memory go in and come out.
/// </summary>
/// <remarks>
/// Everything lies at fixed low addresses, so that a guest can have the same memory at the same place. The
/// instruction may not fault,
/// and may leave to the address behind it or to a pad (<see cref="PadOf"/>).
/// </remarks>
public sealed unsafe class NativeCpu : IDisposable
{
    /// <summary>Two pages of code; a few pages of data; a stack whose pointer starts in the middle.</summary>
    public const ulong CodePages = 0x2000_0000, Pads = CodePages + 0x800, DataPages = 0x2004_0000,
        StackPointer = 0x2003_8000;
    public const int CodeLength = 0x2000, DataLength = 0x4000;

    /// <summary>What of the stack is compared: half below and half above the pointer.</summary>
    public const int StackLength = 256, MaxPads = 8;

    const ulong Entry = 0x2000_2000, Context = 0x2001_0000, Arena = CodePages;
    const int ArenaLength = 0x10_0000;
    const int Read = 1, Write = 2, Execute = 4, Private = 2, Fixed = 0x10_0000, Anonymous = 0x20;

    const ushort Code64 = 0x33, Code32 = 0x23, FlatData = 0x2B;   // Linux' selectors

    readonly ulong _epilogue;
    readonly bool _isNarrow;

    /// <param name="isNarrow">32-bit code: the processor's compatibility mode.</param>
    public NativeCpu(bool isNarrow = false)
    {
        _isNarrow = isNarrow;
        NativeCode.SkipElsewhere();
        nint at = Map((nint)Arena, ArenaLength, Read | Write | Execute, Private | Fixed | Anonymous, -1, 0);
        if (at != (nint)Arena)
            throw new InvalidOperationException($"mmap at 0x{Arena:X} failed: errno {Marshal.GetLastPInvokeError()}.");
        var (bytes, epilogue) = WriteStub(isNarrow);
        _epilogue = epilogue;
        bytes.CopyTo(Bytes(Entry, bytes.Length));
        if (isNarrow) _epilogue = WriteWayBack(epilogue);
        for (int i = 0; i < MaxPads; i++) WritePad(i);
    }

    /// <summary>Registers by number, in and out.</summary>
    public Span<ulong> Gpr => new((ulong*)Context + 8, 16);

    public ulong Flags { get => ((ulong*)Context)[1]; set => ((ulong*)Context)[1] = value; }

    public Span<byte> Data => Bytes(DataPages, DataLength);
    public Span<byte> Stack => Bytes(StackPointer - StackLength / 2, StackLength);

    /// <summary>Where a branch may go.</summary>
    public static ulong PadOf(int index) => Pads + 16UL * (ulong)index;

    /// <summary>Runs an instruction at an address of the code pages.</summary>
    /// <returns>Where it went on.</returns>
    public ulong Run(ulong address, ReadOnlySpan<byte> code)
    {
        ulong behind = address + (ulong)code.Length;
        code.CopyTo(Bytes(address, code.Length));
        WriteJump(behind, _epilogue);
        ulong* context = (ulong*)Context;
        context[2] = 0;
        context[3] = address | (ulong)Code32 << 32;
        if (!_isNarrow) context[3] = address;
        // SAFETY: the stub keeps what the calling convention says; the instruction was chosen so that it does not
        // fault.
        ((delegate* unmanaged<void>)Entry)();
        return context[2] == 0 ? behind : PadOf((int)context[2] - 1);
    }

    public void Dispose() => Unmap((nint)Arena, ArenaLength);

    static Span<byte> Bytes(ulong address, int length) => new((void*)address, length);

    void WritePad(int index)
    {
        Span<byte> store = _isNarrow ? [0xC7, 0x05, 0, 0, 0, 0, 0, 0, 0, 0]
            : [0xC7, 0x04, 0x25, 0, 0, 0, 0, 0, 0, 0, 0];   // mov dword [Context + 16], index + 1
        BitConverter.TryWriteBytes(store[^8..], (uint)Context + 16);
        BitConverter.TryWriteBytes(store[^4..], index + 1);
        store.CopyTo(Bytes(PadOf(index), store.Length));
        WriteJump(PadOf(index) + (ulong)store.Length, _epilogue);
    }

    static void WriteJump(ulong address, ulong target)
    {
        Span<byte> jump = Bytes(address, 5);
        jump[0] = 0xE9;
        BitConverter.TryWriteBytes(jump[1..], (int)(target - address - 5));
    }

    /// <summary>A far jump of 32-bit code to the epilogue.</summary>
    static ulong WriteWayBack(ulong epilogue)
    {
        const ulong Address = Entry + 0x800;
        Span<byte> jump = [0xEA, 0, 0, 0, 0, 0, 0];
        BitConverter.TryWriteBytes(jump[1..], (uint)epilogue);
        BitConverter.TryWriteBytes(jump[5..], Code64);
        jump.CopyTo(Bytes(Address, jump.Length));
        return Address;
    }

    static (byte[] Bytes, ulong Epilogue) WriteStub(bool isNarrow)
    {
        AssemblerRegister64[] registers =
            [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15];
        AssemblerRegister64[] saved = [rbx, rbp, r12, r13, r14, r15];
        const long Values = (long)Context + 64;
        var code = new Assembler(64);
        Label epilogue = code.CreateLabel("epilogue");
        foreach (AssemblerRegister64 register in saved) code.push(register);
        code.mov(__qword_ptr[(long)Context], rsp);
        code.mov(eax, isNarrow ? FlatData : 0);
        code.mov(ds, eax);
        code.mov(es, eax);
        code.push(__qword_ptr[(long)Context + 8]);
        code.popfq();
        for (int i = 15; i >= 0; i--) code.mov(registers[i], __qword_ptr[Values + 8 * i]);
        if (isNarrow) code.jmp(__fword_ptr[(long)Context + 24]);
        else code.jmp(__qword_ptr[(long)Context + 24]);
        code.Label(ref epilogue);
        for (int i = 0; i < 16; i++) code.mov(__qword_ptr[Values + 8 * i], registers[i]);
        code.mov(rsp, __qword_ptr[(long)Context]);
        code.pushfq();
        code.pop(__qword_ptr[(long)Context + 8]);
        code.cld();
        code.xor(eax, eax);
        code.mov(ds, eax);
        code.mov(es, eax);
        foreach (AssemblerRegister64 register in saved.Reverse()) code.pop(register);
        code.ret();
        using var bytes = new MemoryStream();
        AssemblerResult result =
            code.Assemble(new StreamCodeWriter(bytes), Entry, BlockEncoderOptions.ReturnNewInstructionOffsets);
        return (bytes.ToArray(), result.GetLabelRIP(epilogue));
    }

    [DllImport("libc", EntryPoint = "mmap", SetLastError = true)]
    static extern nint Map(nint address, nuint size, int protection, int flags, int file, nint offset);

    [DllImport("libc", EntryPoint = "munmap", SetLastError = true)]
    static extern int Unmap(nint address, nuint size);
}
