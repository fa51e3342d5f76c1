using System.Runtime.InteropServices;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Native;

/// <summary>
/// While it lives, an unmasked SSE exception in an oracle's code ends at the code's recovery address.
/// </summary>
/// <remarks>
/// The handler is machine code: it takes the oracle's call from the saved RDI, stores MXCSR there, masks everything
/// again and moves RIP. Offsets are those of ucontext_t and of the FXSAVE area that it points to, on x86-64 Linux.
/// </remarks>
public sealed unsafe class FloatTrap : IDisposable
{
    /// <summary>Where a call has what the handler reads and writes.</summary>
    public const int MxcsrOffset = 0, RecoveryOffset = 32, TrappedOffset = 40;

    const int FloatSignal = 8, TakesInformation = 4, NoDefer = 0x40000000, ActionSize = 152, FlagsOffset = 136;
    const int SavedRdi = 104, SavedRip = 168, SavedFloats = 224, SavedMxcsr = 24;

    readonly NativeCode _handler;
    readonly byte[] _previous = new byte[ActionSize];

    public FloatTrap()
    {
        _handler = new NativeCode(code =>
        {
            code.mov(rax, __qword_ptr[rdx + SavedRdi]);
            code.mov(rcx, __qword_ptr[rdx + SavedFloats]);
            code.mov(r8d, __dword_ptr[rcx + SavedMxcsr]);
            code.mov(__dword_ptr[rax + MxcsrOffset], r8d);
            code.mov(__dword_ptr[rcx + SavedMxcsr], 0x1F80);
            code.mov(__qword_ptr[rax + TrappedOffset], 1);
            code.mov(r8, __qword_ptr[rax + RecoveryOffset]);
            code.mov(__qword_ptr[rdx + SavedRip], r8);
            code.ret();
        });

        var action = new byte[ActionSize];
        BitConverter.TryWriteBytes(action, _handler.Address);
        BitConverter.TryWriteBytes(action.AsSpan(FlagsOffset), TakesInformation | NoDefer);
        Install(action, _previous);
    }

    public void Dispose()
    {
        Install(_previous, new byte[ActionSize]);
        _handler.Dispose();
    }

    static void Install(byte[] action, byte[] previous)
    {
        fixed (byte* now = action, old = previous)
        {
            // SAFETY: both are as large as struct sigaction; the C library copies them.
            if (SetAction(FloatSignal, now, old) != 0)
                throw new InvalidOperationException($"sigaction failed: errno {Marshal.GetLastPInvokeError()}.");
        }
    }

    [DllImport("libc", EntryPoint = "sigaction", SetLastError = true)]
    static extern int SetAction(int signal, byte* action, byte* previous);
}
