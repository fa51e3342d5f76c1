using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>
/// 32-bit code under a 64-bit system. Source: Intel SDM vol. 3A §5.8, §9.8.5; vol. 1 §3.3.7; AMD APM vol. 2 §1.3.1.
/// </summary>
public sealed unsafe class CompatibilityTests : GuestTest
{
    const ulong Narrow = VcpuFixture.Code + 0x800;
    const byte Done = 0x80;

    [SetUp]
    public void OpenGate() => Pc.SetGate(Done, HandlerOf(Done), dpl: 3);

    [Test]
    public void A_far_jump_leads_into_32_bit_code_and_back()
    {
        Pc.Load(code => code.jmp(__fword_ptr[(long)Data]));
        Pc.Memory.Write(Data, [.. BitConverter.GetBytes((uint)Narrow), .. BitConverter.GetBytes(KernelCode32)]);
        Pc.Load(code =>
        {
            code.mov(eax, 0xFFFF_FFFF);
            code.db(0x40);                              // INC EAX here, a REX prefix in 64-bit mode
            code.mov(ebx, 0x1234);
            code.db([0xEA, .. BitConverter.GetBytes((uint)VcpuFixture.Code + 0x100),
                .. BitConverter.GetBytes(KernelCode)]);
        }, Narrow, bitness: 32);
        Pc.Load(code =>
        {
            code.mov(rcx, 0x1_0000_0001);
            code.hlt();
        }, VcpuFixture.Code + 0x100);
        State->Gpr[Gpr.Rax] = ulong.MaxValue;

        Pc.RunToHalt();

        Assert.That((Register(Gpr.Rax), Register(Gpr.Rbx), Register(Gpr.Rcx)),
            Is.EqualTo((0UL, 0x1234UL, 0x1_0000_0001UL)));
        Assert.That(State->Rip, Is.EqualTo(VcpuFixture.Code + 0x10B));
    }

    // A 32-bit process under Linux: IRETQ into it, INT 0x80 out of it, and the 64-bit frame.
    [Test]
    public void An_iretq_leads_to_32_bit_ring_3_and_an_interrupt_back()
    {
        RunNarrow(code =>
        {
            code.mov(eax, 4);
            code.push(0x11);
            code.push(0x22);
            code.pop(ecx);
            code.@int(Done);
        });

        Assert.That(Pc.HaltedVector, Is.EqualTo(Done));
        ulong[] frame = Pc.Frame(5);
        Assert.That((frame[1], frame[3], frame[4]),
            Is.EqualTo(((ulong)UserCode32, UserPages + 0x3000 - 4, (ulong)UserData)));
        Assert.That((Register(Gpr.Rax), Register(Gpr.Rcx)), Is.EqualTo((4UL, 0x22UL)));
        Assert.That(Pc.Memory.Read32(UserPages + 0x3000 - 4), Is.EqualTo(0x11));
    }

    // Vol. 1 §3.3.7.1: effective addresses are of 32 bits.
    [Test]
    public void An_address_wraps_at_4_gib()
    {
        Pc.Memory.Write64(UserPages + 0x1100, 0x5A5A);
        RunNarrow(code =>
        {
            code.mov(ebx, 0xFFFF_F000);
            code.mov(eax, __dword_ptr[ebx + (int)UserPages + 0x2100]);
            code.lea(ecx, __[ebx + ebx * 4 + 0x7000_0000]);
            code.@int(Done);
        });

        Assert.That(Pc.HaltedVector, Is.EqualTo(Done));
        Assert.That((Register(Gpr.Rax), Register(Gpr.Rcx)), Is.EqualTo((0x5A5AUL, 0x6FFF_B000UL)));
    }

    [Test]
    public void A_16_bit_address_wraps_at_64_kib()
    {
        Pc.Map(0x1000, 0x50_0000, Present | Writable | User);
        Pc.Memory.Write64(0x50_0010, 0x77);
        RunNarrow(code =>
        {
            code.mov(ebx, 0xABCD_F000);
            code.mov(eax, __dword_ptr[bx + 0x2010]);
            code.@int(Done);
        });

        Assert.That(Pc.HaltedVector, Is.EqualTo(Done));
        Assert.That(Register(Gpr.Rax), Is.EqualTo(0x77));
    }

    [Test]
    public void Calls_and_returns_are_of_32_bits()
    {
        RunNarrow(code =>
        {
            Label routine = code.CreateLabel(), behind = code.CreateLabel();
            code.call(routine);
            code.jmp(behind);
            code.Label(ref routine);
            code.mov(eax, __[esp]);
            code.ret();
            code.Label(ref behind);
            code.@int(Done);
        });

        Assert.That(Register(Gpr.Rax), Is.EqualTo(UserPages + 5));
        Assert.That(Pc.Frame(5)[3], Is.EqualTo(UserPages + 0x3000));
    }

    [Test]
    public void A_fault_s_frame_is_of_64_bits()
    {
        RunNarrow(code => code.ud2());

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.InvalidOpcode));
        ulong[] frame = Pc.Frame(5);
        Assert.That((frame[0], frame[1], Register(Gpr.Rsp)),
            Is.EqualTo((UserPages, (ulong)UserCode32, KernelStackTop - 40)));
    }

    // Vol. 3A §3.4.2: outside 64-bit mode a null data segment may be loaded but not used.
    [Test]
    public void A_null_segment_may_not_be_used()
    {
        RunNarrow(code =>
        {
            code.xor(eax, eax);
            code.mov(es, ax);
            code.mov(ebx, (int)UserPages);
            code.mov(eax, __.es[ebx]);
        });

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
    }

    // The base of a thread's segment, as a 32-bit C library uses it.
    [Test]
    public void A_segment_of_the_gdt_with_a_base_shifts_addresses()
    {
        const ushort Tls = 0x4B;   // the slot behind the task state's upper half
        State->GdtLimit = 0x4F;
        Pc.Memory.Write64(Gdt + 0x48, 0x00CF_F300_0000_FFFF | (UserPages + 0x1000 & 0xFF_FFFF) << 16);
        Pc.Memory.Write64(UserPages + 0x1008, 0x99);
        RunNarrow(code =>
        {
            code.mov(eax, Tls);
            code.mov(gs, ax);
            code.mov(eax, __.gs[8]);
            code.@int(Done);
        });

        Assert.That(Pc.HaltedVector, Is.EqualTo(Done));
        Assert.That(Register(Gpr.Rax), Is.EqualTo(0x99));
    }

    /// <summary>Runs 32-bit code in ring 3, entered as a system does.</summary>
    void RunNarrow(Action<Assembler> write)
    {
        for (ulong page = UserPages; page < UserPages + 0x4000; page += 0x1000)
            Pc.Map(page, page, Present | Writable | User);
        Pc.Load(write, UserPages, bitness: 32);
        Pc.Load(code =>
        {
            code.mov(eax, UserData);
            code.mov(ds, eax);
            code.mov(es, eax);
            code.push(UserData);
            code.push((int)UserPages + 0x3000);
            code.push(2);
            code.push(UserCode32);
            code.push((int)UserPages);
            code.iretq();
        });
        Pc.RunToHalt();
    }
}
