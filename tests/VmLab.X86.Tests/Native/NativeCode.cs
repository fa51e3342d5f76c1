using System.Runtime.InteropServices;
using Iced.Intel;

namespace VmLab.X86.Tests.Native;

/// <summary>Machine code of this host's processor, in pages that can be executed and not written.</summary>
/// <remarks>
/// For x86-64 hosts of the System V kind: the code is called with its argument in RDI and must keep RBX, RBP and R12 to
/// R15.
/// </remarks>
public sealed unsafe class NativeCode : IDisposable
{
    const int Alignment = 64;
    const int Read = 1, Write = 2, Execute = 4, Private = 2, Anonymous = 0x20;

    readonly nint _page;
    readonly nuint _size;

    public NativeCode(ReadOnlySpan<byte> code)
    {
        SkipElsewhere();
        _size = (nuint)(code.Length + 4095 & ~4095);
        // SAFETY: a fresh anonymous mapping of _size bytes, written within its bounds before it becomes executable.
        _page = Map(0, _size, Read | Write, Private | Anonymous, -1, 0);
        if (_page == -1) throw new InvalidOperationException($"mmap failed: errno {Marshal.GetLastPInvokeError()}.");
        code.CopyTo(new Span<byte>((void*)_page, code.Length));
        if (Protect(_page, _size, Read | Execute) != 0)
            throw new InvalidOperationException($"mprotect failed: errno {Marshal.GetLastPInvokeError()}.");
    }

    /// <summary>Assembles the code; it must end in a return.</summary>
    public NativeCode(Action<Assembler> write) : this(Assemble(write)) { }

    public static bool IsSupported =>
        OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64;

    /// <summary>Where the code begins.</summary>
    public nint Address => _page;

    /// <summary>Ends the test as ignored where the host cannot run such code.</summary>
    public static void SkipElsewhere()
    {
        if (!IsSupported) Assert.Ignore("The oracle is the host's own processor: this test needs Linux on x86-64.");
    }

    /// <summary>Calls the code with a copy of the argument that is aligned for any instruction, and copies it back.</summary>
    public void Run<T>(ref T argument) where T : unmanaged
    {
        byte* raw = stackalloc byte[sizeof(T) + Alignment];
        var aligned = (T*)((nint)(raw + Alignment - 1) & -Alignment);
        *aligned = argument;
        // SAFETY: the page holds the constructor's code and lives until Dispose; the argument is on this stack.
        ((delegate* unmanaged<void*, void>)_page)(aligned);
        argument = *aligned;
    }

    public void Dispose() => Unmap(_page, _size);

    static byte[] Assemble(Action<Assembler> write)
    {
        var assembler = new Assembler(64);
        write(assembler);
        using var bytes = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(bytes), rip: 0);
        return bytes.ToArray();
    }

    [DllImport("libc", EntryPoint = "mmap", SetLastError = true)]
    static extern nint Map(nint address, nuint size, int protection, int flags, int file, nint offset);

    [DllImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    static extern int Protect(nint address, nuint size, int protection);

    [DllImport("libc", EntryPoint = "munmap", SetLastError = true)]
    static extern int Unmap(nint address, nuint size);
}
