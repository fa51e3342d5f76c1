using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Guests;

/// <summary>Writes endless random programs that touch all that an engine must count exactly.</summary>
/// <remarks>
/// R15 points at the data pages, R14 is kept, R12 is where a fault's handler goes on. The rest is free. Arithmetic,
/// branches, calls,
/// repetitions, faults, code that is written to, page tables that are written to, devices, the time-stamp counter.
/// </remarks>
sealed class RandomProgram(Random random, ulong pageEntry, ulong[] frames)
{
    /// <summary>A linear page whose mapping the program changes, and what it never maps.</summary>
    public const ulong ChangingPage = 0x4000_0000, AbsentPage = 0x4100_0000, Device = 0xD000_0000;

    public const ushort Port = 0x100;
    public const int DataLength = 0x4000;

    static readonly AssemblerRegister64[] s_wide = [rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r13];
    static readonly AssemblerRegister32[] s_narrow = [eax, ecx, edx, ebx, ebp, esi, edi, r8d, r9d, r10d, r11d, r13d];
    static readonly AssemblerRegister8[] s_bytes = [al, cl, dl, bl, ah, ch, dh, bh, sil, r9b, r10b];

    /// <summary>Writes so many pieces, and a jump back to the first.</summary>
    public void Write(Assembler code, int pieces)
    {
        Label top = code.CreateLabel();
        code.Label(ref top);
        for (int i = 0; i < pieces; i++) WritePiece(code);
        code.jmp(top);
    }

    void WritePiece(Assembler code)
    {
        switch (random.Next(24))
        {
            case < 8: Arithmetic(code); break;
            case 8 or 9: Memory(code); break;
            case 10 or 11: Branch(code); break;
            case 12: Call(code); break;
            case 13: Repetition(code); break;
            case 14: Fault(code); break;
            case 15: ChangingCode(code); break;
            case 16: ChangingPages(code); break;
            case 17: DeviceAccess(code); break;
            case 18: Stack(code); break;
            case 19: CountedLoop(code); break;
            case 20: System(code); break;
            case 21: Multiplication(code); break;
            case 22: Crossing(code); break;
            default: code.rdtsc(); break;
        }
    }

    void Arithmetic(Assembler code)
    {
        AssemblerRegister64 a = Wide(), b = Wide();
        switch (random.Next(14))
        {
            case 0: code.add(a, b); break;
            case 1: code.sub(Narrow(), Narrow()); break;
            case 2: code.adc(a, random.Next()); break;
            case 3: code.sbb(Byte(), (sbyte)random.Next(-128, 128)); break;
            case 4: code.xor(a, b); break;
            case 5: code.and(Narrow(), random.Next()); break;
            case 6: code.rol(a, (byte)random.Next(64)); break;
            case 7: code.shr(Narrow(), cl); break;
            case 8: code.lea(a, __[b + Wide() * 4 + random.Next(1000)]); break;
            case 9: code.imul(a, b); break;
            case 10: code.cmovb(a, b); break;
            case 11: code.setle(al); break;
            case 12: code.inc(Narrow()); break;
            default: code.mov(a, (ulong)random.NextInt64()); break;
        }
    }

    void Memory(Assembler code)
    {
        switch (random.Next(6))
        {
            case 0: code.mov(Wide(), __[r15 + Offset()]); break;
            case 1: code.mov(__[r15 + Offset()], Wide()); break;
            case 2: code.add(__[r15 + Offset()], Narrow()); break;
            case 3: code.@lock.xadd(__[r15 + Offset()], Wide()); break;
            case 4: code.cmp(r9b, __[r15 + Offset()]); break;
            default:
                code.movzx(ebx, Byte());
                code.sub(__[r15 + rbx * 8 + 64], Wide());
                break;
        }
    }

    void Crossing(Assembler code)
    {
        int offset = 0x1000 * random.Next(1, 4) - random.Next(1, 8);
        if (random.Next(2) == 0) code.mov(__[r15 + offset], Wide());
        else code.adc(__qword_ptr[r15 + offset], random.Next());
    }

    void Branch(Assembler code)
    {
        Label behind = code.CreateLabel();
        code.test(Wide(), Wide());
        switch (random.Next(4))
        {
            case 0: code.je(behind); break;
            case 1: code.js(behind); break;
            case 2: code.ja(behind); break;
            default: code.jp(behind); break;
        }
        for (int i = random.Next(4); i >= 0; i--) Arithmetic(code);
        code.Label(ref behind);
        code.nop();
    }

    void CountedLoop(Assembler code)
    {
        Label again = code.CreateLabel();
        code.mov(ebp, random.Next(1, 6));
        code.Label(ref again);
        code.add(rax, rbp);
        code.mov(__[r15 + Offset()], rax);
        code.dec(ebp);
        code.jne(again);
    }

    void Call(Assembler code)
    {
        Label routine = code.CreateLabel(), behind = code.CreateLabel();
        if (random.Next(2) == 0)
        {
            code.lea(rbx, __[routine]);
            code.call(rbx);
        }
        else code.call(routine);
        code.jmp(behind);
        code.Label(ref routine);
        Arithmetic(code);
        code.ret();
        code.Label(ref behind);
        code.nop();
    }

    void Repetition(Assembler code)
    {
        code.mov(ecx, random.Next(5) == 0 ? 0 : random.Next(1, 60));
        code.lea(rdi, __[r15 + Offset()]);
        code.lea(rsi, __[r15 + Offset()]);
        bool isDown = random.Next(4) == 0;
        if (isDown) code.std();
        switch (random.Next(6))
        {
            case 0: code.rep.movsb(); break;
            case 1: code.rep.movsq(); break;
            case 2: code.rep.stosd(); break;
            case 3: code.repne.scasb(); break;
            case 4: code.repe.cmpsb(); break;
            default: code.rep.lodsw(); break;
        }
        if (isDown) code.cld();
    }

    void Fault(Assembler code)
    {
        Label behind = code.CreateLabel();
        code.lea(r12, __[behind]);
        switch (random.Next(5))
        {
            case 0: code.div(Narrow()); break;
            case 1: code.ud2(); break;
            case 2: code.@int(0x90); break;
            case 3:
                code.mov(rbx, AbsentPage - (ulong)random.Next(8));
                code.mov(__[rbx], rax);
                break;
            default:
                code.mov(rdi, AbsentPage - (ulong)random.Next(1, 40));   // a repetition that runs into it
                code.mov(ecx, 50);
                code.rep.stosb();
                break;
        }
        Arithmetic(code);
        code.Label(ref behind);
        code.nop();
    }

    void ChangingCode(Assembler code)
    {
        Label target = code.CreateLabel();
        code.lea(rbx, __[target]);
        if (random.Next(2) == 0) code.mov(__[rbx + 2], Byte());
        else code.inc(__byte_ptr[rbx + 2]);
        for (int i = random.Next(3); i > 0; i--) code.inc(r8);
        code.Label(ref target);
        code.add(cl, 0x11);   // 80 C1 ib
    }

    void ChangingPages(Assembler code)
    {
        code.mov(rbx, ChangingPage + (ulong)random.Next(0x1000));
        code.mov(rsi, pageEntry);
        if (random.Next(2) == 0) code.add(Wide(), __[rbx]);
        if (random.Next(3) != 0)
            code.mov(__dword_ptr[rsi],
                (int)(frames[random.Next(frames.Length)] | VcpuFixture.Present | VcpuFixture.Writable));
        if (random.Next(2) == 0) code.mov(__[rbx], Byte());
        if (random.Next(2) == 0) code.mov(rax, __[rsi]);   // accessed and dirty as they are
    }

    void DeviceAccess(Assembler code)
    {
        code.mov(rbx, Device + 8 * (ulong)random.Next(16));
        switch (random.Next(5))
        {
            case 0: code.mov(Narrow(), __[rbx]); break;
            case 1: code.mov(__[rbx], Wide()); break;
            case 2: code.xor(__[rbx], Narrow()); break;
            case 3: code.@in(eax, (byte)0x80); break;
            default:
                code.mov(edx, Port);
                code.@out(dx, al);
                break;
        }
    }

    void Stack(Assembler code)
    {
        code.push(Wide());
        if (random.Next(2) == 0) code.pushfq();
        else code.push(random.Next());
        Arithmetic(code);
        code.add(rsp, 8);
        code.pop(Wide());
    }

    void System(Assembler code)
    {
        switch (random.Next(8))
        {
            case 0: code.cli(); break;
            case 1: code.sti(); break;
            case 2:
                code.sti();
                code.hlt();
                break;
            case 3:
                code.mov(rax, cr3);
                code.mov(cr3, rax);
                break;
            case 4: code.invlpg(__[r15]); break;
            case 5:
                code.mov(eax, ss);
                code.mov(ss, eax);
                break;
            case 6: code.rdrand(Wide()); break;
            default:
                code.mov(ecx, 0x10);
                code.rdmsr();
                break;
        }
    }

    void Multiplication(Assembler code)
    {
        if (random.Next(2) == 0) code.mul(Wide());
        else code.imul(Wide(), Wide(), random.Next());
    }

    int Offset() => random.Next(0x40, DataLength / 2);

    AssemblerRegister64 Wide() => s_wide[random.Next(s_wide.Length)];
    AssemblerRegister32 Narrow() => s_narrow[random.Next(s_narrow.Length)];
    AssemblerRegister8 Byte() => s_bytes[random.Next(s_bytes.Length)];
}
