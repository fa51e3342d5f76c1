using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>
/// Writes programs that rebuild page tables at every level while they use them, in rings 0 and 3, under several roots.
/// </summary>
/// <remarks>
/// A handful of pages serve as tables of any level, as several at once, and as data. The program runs where nothing of
/// that reaches.
/// A page fault notes CR2 and its error code behind R13 and goes on at R12.
/// </remarks>
sealed class RandomPagingProgram(Random random)
{
    public const ulong Tables = 0x60_0000, Frames = 0x70_0000, Base = 0x80_0000_0000, UserCode = UserPages,
        Log = 0x48_0000, OtherRoots = 0x58_0000;
    public const byte BackToKernel = 0x82;
    public const int Roots = 3;

    const int TableCount = 5, FrameCount = 4, Indices = 2;

    public static ulong RootOf(int index) => index == 0 ? RootTable : OtherRoots + 0x1000 * (ulong)(index - 1);

    public void Write(Assembler code, int pieces)
    {
        Label top = code.CreateLabel();
        code.Label(ref top);
        for (int i = 0; i < pieces; i++)
        {
            Label behind = code.CreateLabel();
            code.lea(r12, __[behind]);
            WritePiece(code);
            code.Label(ref behind);
            code.nop();
        }
        code.jmp(top);
    }

    /// <summary>What an entry of a pool's table may be.</summary>
    public ulong Entry()
    {
        ulong target = random.Next(5) < 3 ? Tables + 0x1000 * (ulong)random.Next(TableCount)
            : Frames + 0x1000 * (ulong)random.Next(FrameCount);
        ulong bits = random.Next(20) == 0 ? 0 : Present;
        if (random.Next(8) != 0) bits |= Writable;
        if (random.Next(8) != 0) bits |= User;
        if (random.Next(16) == 0) bits |= NoExecute;
        if (random.Next(3) == 0) bits |= Accessed;
        if (random.Next(3) == 0) bits |= Dirty;
        if (random.Next(12) == 0) return bits | Large | 0x60_0000;   // 2 MiB that hold the pools themselves
        return target | bits;
    }

    void WritePiece(Assembler code)
    {
        switch (random.Next(40))
        {
            case < 18:
                ulong linear = Linear();
                Access(code, linear);
                ChangeEntry(code);
                Access(code, linear);
                break;
            case < 23: Access(code, Linear()); break;
            case < 26: ChangeEntry(code); break;
            case < 30: AccessAsUser(code); break;
            case < 33:
                code.mov(rax, RootOf(random.Next(Roots)));
                code.mov(cr3, rax);
                break;
            case 33:
                if (random.Next(2) == 0) code.stac();
                else code.clac();
                break;
            case 34:
                code.mov(rax, cr0);
                code.btc(rax, 16);   // WP
                code.mov(cr0, rax);
                break;
            case < 37: Call(code); break;
            case < 39: Repetition(code); break;
            default:
                code.mov(rax, cr4);
                code.btc(rax, 21);   // SMAP
                code.mov(cr4, rax);
                break;
        }
    }

    void Access(Assembler code, ulong linear)
    {
        code.mov(rbx, linear);
        switch (random.Next(5))
        {
            case 0: code.mov(rax, __[rbx]); break;
            case 1: code.mov(__[rbx], r8); break;
            case 2: code.add(__[rbx], rcx); break;
            case 3: code.or(__byte_ptr[rbx], 0x66); break;
            default: code.push(__qword_ptr[rbx]); code.pop(rdx); break;
        }
        code.add(r8, rax);
    }

    /// <summary>Changes an entry through the identity map, or through whatever maps it.</summary>
    void ChangeEntry(Assembler code)
    {
        ulong place = random.Next(8) == 0 ? RootOf(random.Next(Roots)) + 8
            : Tables + 0x1000 * (ulong)random.Next(TableCount) + 8 * (ulong)random.Next(Indices);
        code.mov(rbx, place);
        code.mov(rax, Entry());
        switch (random.Next(6))
        {
            case 0: code.mov(__byte_ptr[rbx], (byte)random.Next(256)); break;
            case 1: code.btc(__qword_ptr[rbx], (byte)random.Next(7)); break;
            case 2: code.mov(__[rbx], eax); break;
            case 3: code.xchg(__[rbx], rax); break;
            default: code.mov(__[rbx], rax); break;
        }
    }

    void AccessAsUser(Assembler code)
    {
        code.mov(rbx, Linear());
        code.push(UserData);
        code.push(0x100);
        code.push(2);
        code.push(VcpuFixture.UserCode);
        code.push((int)UserCode + 32 * random.Next(3));
        code.iretq();
    }

    /// <summary>The user's three programs: a load, a store, a call.</summary>
    public static void WriteUserPrograms(VcpuFixture pc)
    {
        Action<Assembler>[] programs =
            [code => code.mov(rax, __[rbx]), code => code.mov(__[rbx], r9), code => code.jmp(rbx)];
        for (int i = 0; i < programs.Length; i++)
            pc.Load(code =>
            {
                programs[i](code);
                code.@int(BackToKernel);
            }, UserCode + 32 * (ulong)i);
    }

    void Call(Assembler code)
    {
        ulong offset = (ulong)random.Next(0x800, 0xFF0);
        for (int i = 0; i < FrameCount; i++) code.mov(__byte_ptr[(long)(Frames + 0x1000 * (ulong)i + offset)], 0xC3);
        code.mov(rbx, LinearPage() + offset);
        code.call(rbx);
    }

    void Repetition(Assembler code)
    {
        code.mov(rdi, LinearPage() + (ulong)random.Next(0xF80, 0x1000));
        code.mov(ecx, random.Next(1, 60));
        code.rep.stosb();
    }

    ulong Linear() => LinearPage() + (ulong)(random.Next(4) switch
    {
        0 => random.Next(0xFF9, 0x1000),
        1 => 8 * random.Next(Indices),
        _ => random.Next(0x1000),
    });

    ulong LinearPage() =>
        Base | (ulong)random.Next(Indices) << 30 | (ulong)random.Next(Indices) << 21
        | (ulong)random.Next(Indices) << 12;
}
