using System.ComponentModel;
using System.Runtime.InteropServices;

namespace VmLab.X86;

/// <summary>Memory for code of the host: one file of RAM mapped twice, to write and to execute, and never both at one address.</summary>
sealed unsafe partial class CodeMemory : IDisposable
{
    const int ProtRead = 1, ProtWrite = 2, ProtExec = 4, MapShared = 1, CloseOnExec = 1, DoNotNeed = 4;

    readonly byte* _writable, _executable;
    bool _isDisposed;

    /// <param name="bytes">A whole number of pages; the host gives them as they are written.</param>
    /// <exception cref="Win32Exception">The host gives no such memory.</exception>
    public CodeMemory(int bytes)
    {
        Size = bytes;
        int file = Check(CreateMemoryFile("vmlab-code", CloseOnExec));
        try
        {
            Check(Truncate(file, bytes));
            _writable = Map(file, ProtRead | ProtWrite);
            _executable = Map(file, ProtRead | ProtExec);
        }
        finally
        {
            Close(file);
        }
    }

    ~CodeMemory() => Free();

    public int Size { get; }

    /// <summary>Where to write what is to be executed at the same offset of <see cref="Executable"/>.</summary>
    public byte* Writable => _writable;

    public byte* Executable => _executable;

    /// <summary>Gives the host's page tables of what was written back: it stays in the file, and to write there again costs a fault a page.</summary>
    /// <param name="end">Where the next is to be written; its page is kept.</param>
    public void Release(byte* end) =>
        _ = Advise((nint)_writable, (nint)(end - _writable) & -Environment.SystemPageSize, DoNotNeed);

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    byte* Map(int file, int protection)
    {
        nint address = MemoryMap(0, Size, protection, MapShared, file, 0);
        return address != -1 ? (byte*)address : throw new Win32Exception();
    }

    static int Check(int result) => result >= 0 ? result : throw new Win32Exception();

    void Free()
    {
        if (_isDisposed) return;
        _isDisposed = true;
        if (_writable != null) _ = MemoryUnmap((nint)_writable, Size);
        if (_executable != null) _ = MemoryUnmap((nint)_executable, Size);
    }

    [LibraryImport("libc", EntryPoint = "memfd_create", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int CreateMemoryFile(string name, uint flags);

    [LibraryImport("libc", EntryPoint = "ftruncate", SetLastError = true)]
    private static partial int Truncate(int file, long length);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint MemoryMap(nint address, nint length, int protection, int flags, int file, long offset);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int MemoryUnmap(nint address, nint length);

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(nint address, nint length, int advice);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    private static partial int Close(int file);
}
