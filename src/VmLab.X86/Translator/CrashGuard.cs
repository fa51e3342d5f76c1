using System.Runtime.InteropServices;

namespace VmLab.X86;

/// <summary>Has translated code that touches memory the host has not leave to its engine, instead of ending the process.</summary>
/// <remarks>
/// The handler of SIGSEGV and SIGBUS is code of its own, which looks only at where the signal struck; any other one is the runtime's, as
/// before. Source: sigaction(2); the layout of <c>ucontext_t</c> on x86-64.
/// </remarks>
static unsafe partial class CrashGuard
{
    const int Capacity = 1 << 14, SigBus = 7, SigSegv = 11, ActionBytes = 152;
    const int SavedR14 = 40 + 8 * 6, SavedRip = 40 + 8 * 16;   // in ucontext_t

    static readonly Lock s_lock = new();
    static readonly Region* s_regions = (Region*)NativeMemory.AllocZeroed(Capacity, (nuint)sizeof(Region));
    static readonly CodeMemory? s_handler = Install();   // mapped for as long as signals may come

    /// <summary>
    /// Host addresses of code, and where to go on when it crashes, with the address of the instruction in R14. The last has no end.
    /// </summary>
    struct Region
    {
        public ulong Start, End, Exit;
    }

    public static void Watch(byte* start, byte* end, byte* exit)
    {
        if (s_handler == null) return;
        lock (s_lock)
        {
            Region* free = s_regions;
            while (free->Start != ulong.MaxValue && free->End != 0) free++;
            if (free == s_regions + Capacity - 1) return;   // one too many goes without
            free->Exit = (ulong)exit;
            Volatile.Write(ref free->Start, (ulong)start);
            Volatile.Write(ref free->End, (ulong)end);
        }
    }

    public static void Forget(byte* start)
    {
        lock (s_lock)
        {
            for (Region* region = s_regions; region->End != 0; region++)
                if (region->Start == (ulong)start) Volatile.Write(ref region->Start, ulong.MaxValue);
        }
    }

    /// <returns><see langword="null"/> where there is no handler to go on to.</returns>
    static CodeMemory? Install()
    {
        byte* segv = stackalloc byte[ActionBytes], bus = stackalloc byte[ActionBytes];
        if (SetAction(SigSegv, null, segv) != 0 || SetAction(SigBus, null, bus) != 0) return null;
        if (*(ulong*)segv <= 1 || *(ulong*)bus <= 1) return null;
        var handler = new CodeMemory(Environment.SystemPageSize);
        Emit(handler, *(ulong*)segv, *(ulong*)bus);
        *(byte**)segv = *(byte**)bus = handler.Executable;
        _ = SetAction(SigSegv, segv, null);
        _ = SetAction(SigBus, bus, null);
        return handler;
    }

    /// <summary>The handler: RDI is the signal, RDX the context.</summary>
    static void Emit(CodeMemory memory, ulong segvHandler, ulong busHandler)
    {
        var e = new Emitter(memory.Writable, memory.Writable + memory.Size);
        e.Load(Host.Rax, Place.At(Host.Rdx, SavedRip));
        e.MoveImmediate(Host.Rcx, (ulong)s_regions);
        byte* next = e.At;
        e.Immediate(Operation.Cmp, Place.At(Host.Rcx, 8), 0);
        byte* isOther = e.JumpIf(Condition.Equal);
        e.Modrm(new(0x3B, IsWide: true), Host.Rax, Place.At(Host.Rcx));
        byte* isBelow = e.JumpIf(Condition.Below);
        e.Modrm(new(0x3B, IsWide: true), Host.Rax, Place.At(Host.Rcx, 8));
        byte* isInside = e.JumpIf(Condition.Below);
        e.Land(isBelow);
        e.Immediate(Operation.Add, Place.Register(Host.Rcx), sizeof(Region));
        e.Jump(next);
        e.Land(isInside);
        e.Load(Host.Rcx, Place.At(Host.Rcx, 16));
        e.Store(Place.At(Host.Rdx, SavedR14), Host.Rax);
        e.Store(Place.At(Host.Rdx, SavedRip), Host.Rcx);
        e.Byte(0xC3);
        e.Land(isOther);
        e.MoveImmediate(Host.Rax, segvHandler);
        e.Immediate(Operation.Cmp, Place.Register(Host.Rdi), SigSegv, isWide: false);
        byte* isSegv = e.JumpIf(Condition.Equal);
        e.MoveImmediate(Host.Rax, busHandler);
        e.Land(isSegv);
        e.JumpThrough(Place.Register(Host.Rax));
    }

    [LibraryImport("libc", EntryPoint = "sigaction", SetLastError = true)]
    private static partial int SetAction(int signal, void* action, void* before);
}
