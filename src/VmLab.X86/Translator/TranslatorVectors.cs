using Iced.Intel;

namespace VmLab.X86;

// SSE to SSE4.1: XMM registers stay in the state, and pass through the host's for one instruction.
sealed unsafe partial class Translator
{
    static readonly Opcode s_loadVector = new(0x10, Map: 1), s_storeVector = new(0x11, Map: 1);   // MOVUPS

    bool CanEmitVector(in Instruction i, out VectorShape shape)
    {
        shape = default;
        if ((_mode & CodeMode.SseOff) != 0) return false;
        bool isListed = IsExact(i.Mnemonic) || IsFloating(i.Mnemonic) && (_mode & CodeMode.SseTraps) == 0;
        if (!isListed || VectorShape.Of(i, _infos) is not { } found) return false;
        shape = found;
        return shape.Rm >= 0 || HasAddress(i);
    }

    void EmitVector(in Instruction i, VectorShape shape, Op* op)
    {
        RflagsBits modified = i.RflagsModified & AllFlags;
        if (shape.Rm < 0)
        {
            int bytes = i.MemorySize.GetSize();
            EmitAccess(i, shape.RmIsWritten ? WriteTag : ReadTag, bytes, op);
            if (bytes == 16 && MustBeAligned(i.Mnemonic)) EmitAlignmentTest(op);
        }
        int field = Math.Max(shape.Extension, 0), rm = Host.R14;
        if (shape.RegisterIsVector) _e.Modrm(s_loadVector, 0, Vector(shape.Register));
        else if (shape.Register >= 0) field = Borrow(shape.Register, Host.R15);
        if (shape.RmIsVector) _e.Modrm(s_loadVector, rm = 1, Vector(shape.Rm));
        else if (shape.Rm >= 0) rm = Borrow(shape.Rm, Host.R14);

        _e.Modrm(shape.Opcode, field, shape.Rm < 0 ? _operand : Place.Register(rm));
        if (shape.Immediate >= 0) _e.Byte(shape.Immediate);

        if (shape.RegisterIsWritten && shape.RegisterIsVector) _e.Modrm(s_storeVector, 0, Vector(shape.Register));
        else if (shape.RegisterIsWritten) GiveBack(shape.Register, field);
        if (shape.RmIsWritten && shape.RmIsVector) _e.Modrm(s_storeVector, 1, Vector(shape.Rm));
        else if (shape.RmIsWritten && shape.Rm >= 0) GiveBack(shape.Rm, rm);
        if (modified != 0) _flags = FlagTracker.Fresh;
    }

    static Place Vector(int number) => Place.State(StateOffset.Xmm + 16 * number);

    /// <summary>Leaves for the op, which raises #GP, if the host address in R14 is no multiple of 16.</summary>
    void EmitAlignmentTest(Op* op)
    {
        _e.Modrm(new(0xF6, IsByte: true), 0, Place.Register(Host.R14));   // TEST
        _e.Byte(15);
        ExitIf(Condition.NotEqual, op);
    }

    static bool MustBeAligned(Mnemonic mnemonic) => mnemonic is not (
        Mnemonic.Movups or Mnemonic.Movupd or Mnemonic.Movdqu or Mnemonic.Lddqu or Mnemonic.Pcmpistri or Mnemonic.Pcmpestri);

    /// <summary>Instructions of bits and integers, which are the same on every processor.</summary>
    static bool IsExact(Mnemonic mnemonic) => mnemonic is
        Mnemonic.Movaps or Mnemonic.Movups or Mnemonic.Movapd or Mnemonic.Movupd or Mnemonic.Movdqa or Mnemonic.Movdqu
        or Mnemonic.Lddqu or Mnemonic.Movd or Mnemonic.Movq or Mnemonic.Movss or Mnemonic.Movsd or Mnemonic.Movlps or Mnemonic.Movhps
        or Mnemonic.Movlpd or Mnemonic.Movhpd or Mnemonic.Movhlps or Mnemonic.Movlhps or Mnemonic.Movddup or Mnemonic.Movshdup
        or Mnemonic.Movsldup or Mnemonic.Movntdq or Mnemonic.Movntps or Mnemonic.Movntpd or Mnemonic.Movmskps or Mnemonic.Movmskpd
        or Mnemonic.Pmovmskb or Mnemonic.Pxor or Mnemonic.Por or Mnemonic.Pand or Mnemonic.Pandn or Mnemonic.Xorps or Mnemonic.Xorpd
        or Mnemonic.Orps or Mnemonic.Orpd or Mnemonic.Andps or Mnemonic.Andpd or Mnemonic.Andnps or Mnemonic.Andnpd or Mnemonic.Paddb
        or Mnemonic.Paddw or Mnemonic.Paddd or Mnemonic.Paddq or Mnemonic.Psubb or Mnemonic.Psubw or Mnemonic.Psubd or Mnemonic.Psubq
        or Mnemonic.Paddsb or Mnemonic.Paddsw or Mnemonic.Paddusb or Mnemonic.Paddusw or Mnemonic.Psubsb or Mnemonic.Psubsw
        or Mnemonic.Psubusb or Mnemonic.Psubusw or Mnemonic.Pavgb or Mnemonic.Pavgw or Mnemonic.Psadbw or Mnemonic.Pmullw
        or Mnemonic.Pmulhw or Mnemonic.Pmulhuw or Mnemonic.Pmuludq or Mnemonic.Pmulld or Mnemonic.Pmuldq or Mnemonic.Pmaddwd
        or Mnemonic.Pcmpeqb or Mnemonic.Pcmpeqw or Mnemonic.Pcmpeqd or Mnemonic.Pcmpeqq or Mnemonic.Pcmpgtb or Mnemonic.Pcmpgtw
        or Mnemonic.Pcmpgtd or Mnemonic.Pcmpgtq or Mnemonic.Pminub or Mnemonic.Pmaxub or Mnemonic.Pminsw or Mnemonic.Pmaxsw
        or Mnemonic.Pminsb or Mnemonic.Pmaxsb or Mnemonic.Pminuw or Mnemonic.Pmaxuw or Mnemonic.Pminud or Mnemonic.Pmaxud
        or Mnemonic.Pminsd or Mnemonic.Pmaxsd or Mnemonic.Psllw or Mnemonic.Pslld or Mnemonic.Psllq or Mnemonic.Psrlw or Mnemonic.Psrld
        or Mnemonic.Psrlq or Mnemonic.Psraw or Mnemonic.Psrad or Mnemonic.Pslldq or Mnemonic.Psrldq or Mnemonic.Pshufd
        or Mnemonic.Pshuflw or Mnemonic.Pshufhw or Mnemonic.Pshufb or Mnemonic.Palignr or Mnemonic.Shufps or Mnemonic.Shufpd
        or Mnemonic.Unpcklps or Mnemonic.Unpckhps or Mnemonic.Unpcklpd or Mnemonic.Unpckhpd or Mnemonic.Punpcklbw or Mnemonic.Punpcklwd
        or Mnemonic.Punpckldq or Mnemonic.Punpcklqdq or Mnemonic.Punpckhbw or Mnemonic.Punpckhwd or Mnemonic.Punpckhdq
        or Mnemonic.Punpckhqdq or Mnemonic.Packsswb or Mnemonic.Packssdw or Mnemonic.Packuswb or Mnemonic.Packusdw or Mnemonic.Pabsb
        or Mnemonic.Pabsw or Mnemonic.Pabsd or Mnemonic.Ptest or Mnemonic.Pcmpistri or Mnemonic.Pcmpestri;

    /// <summary>Instructions of numbers by IEEE 754, exact in every bit, with MXCSR for rounding, zeros and flags.</summary>
    static bool IsFloating(Mnemonic mnemonic) => mnemonic is
        Mnemonic.Addss or Mnemonic.Addsd or Mnemonic.Addps or Mnemonic.Addpd or Mnemonic.Subss or Mnemonic.Subsd or Mnemonic.Subps
        or Mnemonic.Subpd or Mnemonic.Mulss or Mnemonic.Mulsd or Mnemonic.Mulps or Mnemonic.Mulpd or Mnemonic.Divss or Mnemonic.Divsd
        or Mnemonic.Divps or Mnemonic.Divpd or Mnemonic.Sqrtss or Mnemonic.Sqrtsd or Mnemonic.Sqrtps or Mnemonic.Sqrtpd
        or Mnemonic.Minss or Mnemonic.Minsd or Mnemonic.Minps or Mnemonic.Minpd or Mnemonic.Maxss or Mnemonic.Maxsd or Mnemonic.Maxps
        or Mnemonic.Maxpd or Mnemonic.Comiss or Mnemonic.Comisd or Mnemonic.Ucomiss or Mnemonic.Ucomisd or Mnemonic.Cvtsi2ss
        or Mnemonic.Cvtsi2sd or Mnemonic.Cvttss2si or Mnemonic.Cvttsd2si or Mnemonic.Cvtss2si or Mnemonic.Cvtsd2si or Mnemonic.Cvtss2sd
        or Mnemonic.Cvtsd2ss or Mnemonic.Cvtps2pd or Mnemonic.Cvtpd2ps or Mnemonic.Cvtdq2ps or Mnemonic.Cvtdq2pd or Mnemonic.Cvtps2dq
        or Mnemonic.Cvttps2dq or Mnemonic.Cvtpd2dq or Mnemonic.Cvttpd2dq or Mnemonic.Roundss or Mnemonic.Roundsd or Mnemonic.Roundps
        or Mnemonic.Roundpd;
}
