using System.Buffers.Binary;
using Iced.Intel;
using VmLab.Core;
using VmLab.X86.Floating;
using VmLab.X86.Tests.Native;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Floating;

/// <summary>
/// The transcendental functions against the host's, whose last bit is its own, and against true values.
/// </summary>
public sealed class TranscendentalTests
{
    const int QuickStates = 4_000;

    public delegate void Execute(ref X87State state);

    public sealed record Form(string Name, Action<Assembler> Native, Execute Ours)
    {
        public override string ToString() => Name;
    }

    [TestCaseSource(nameof(Forms))]
    public void Comes_within_a_unit_of_the_host(Form form)
    {
        NativeCode.SkipElsewhere();
        using var oracle = new X87Oracle(form.Native);
        var rng = Rng.FromSeed(5);
        var differences = new List<string>();
        int total = 0, off = 0;
        byte[] ours = new byte[X87Oracle.ImageSize];
        for (int i = 0; i < QuickStates; i++)
        {
            byte[] before = X87Image.Random(ref rng, isMasked: (i & 1) == 0), host = [.. before];
            UInt128 operand = 0;
            oracle.Run(host, ref operand);

            var state = X87State.Initial;
            X87.Restore(ref state, before, X87Layout.Protected32);
            form.Ours(ref state);
            X87.Save(ref state, ours, X87Layout.Protected32);

            X87Image.ClearPointers(host);
            X87Image.ClearPointers(ours);
            X87Image.ClearStatus(host, 0x0200);
            X87Image.ClearStatus(ours, 0x0200);
            for (int r = 0; r < 2; r++)
            {
                var (a, b) = (X87Image.Read(host, r), X87Image.Read(ours, r));
                if (a != b && Int128.Abs(Rank(a) - Rank(b)) <= 1)
                {
                    X87Image.Write(ours, r, a);
                    off++;
                }
            }
            if (ours.AsSpan().SequenceEqual(host)) continue;
            total++;
            if (differences.Count < 10)
                differences.Add(
                    $"\n{form} from {X87Image.Show(before)} with 0" +
                    $"\n  host {X87Image.Show(host)} 0\n  ours {X87Image.Show(ours)} 0\n");
        }
        TestContext.Out.WriteLine($"{form}: {off} one unit off");
        Assert.That(differences, Is.Empty, $"{total} of {QuickStates}");
    }

    /// <summary>
    /// Values worked out elsewhere (mpmath, 600 bits, the sine's kin with π of 66 bits) and rounded as IEEE 754
    /// would.
    /// </summary>
    /// <param name="rounding">RC of the control word.</param>
    /// <param name="exponentX">Sign and exponent of ST(0), then its significand; then ST(1), then the result.</param>
    /// <param name="isUp">C1: rounding made it larger.</param>
    [TestCase("F2XM1", 2, 0xBFE6, 0xB0E11B12EE610F2F, 0x3FFB, 0x8B114EAF195DF978, 0xBFE5, 0xF534F0D07A1461FF, false)]
    [TestCase("F2XM1", 1, 0x3BA1, 0xF53315C068602676, 0xBFFA, 0xC3930CC6385829D8, 0x3BA1, 0xA9F599BEAC0CA908, false)]
    [TestCase("F2XM1", 1, 0xBFFB, 0xCD1C20C328EE28AC, 0x3FDF, 0x8E45DAC9008EACA5, 0xBFFB, 0x89594CCA4927C3A1, true)]
    [TestCase("F2XM1", 3, 0x3C98, 0xA5A2251E3D536260, 0xC00A, 0xC71E98880590F2CE, 0x3C97, 0xE59DDAC0B0CA35F0, false)]
    [TestCase("F2XM1", 2, 0xBFFD, 0x9D2389C10B2A2821, 0x4014, 0xCD0846D6EB8BF171, 0xBFFC, 0xC43A92C8120A413D, false)]
    [TestCase("F2XM1", 1, 0x3AB5, 0xCB3522AD5B11465F, 0x3FEE, 0xC455324AB9095CE1, 0x3AB5, 0x8CDA4DA9CA1699A5, false)]
    [TestCase("F2XM1", 2, 0xBFED, 0x8695EA19B862E01A, 0x4012, 0xC111008CB12D01AE, 0xBFEC, 0xBA93337048594998, false)]
    [TestCase("F2XM1", 3, 0xB764, 0x9EF25E862C75EF71, 0xBFFF, 0x8C597EED719AC6B8, 0xB763, 0xDC58D4550232926C, false)]
    [TestCase("F2XM1", 1, 0x3FFC, 0xEBF6EDA7BAE3AA17, 0xC000, 0xF07F8C1F8232DE64, 0x3FFC, 0xB1582DD4E73168AC, false)]
    [TestCase("F2XM1", 0, 0x3FFE, 0x95DA1F3514B0E827, 0x4009, 0xDC9EA1E701E252AE, 0x3FFE, 0x801B0E835F813DE4, false)]
    [TestCase("FYL2X", 0, 0x3FFF, 0x800000000000022F, 0xC029, 0xA53064EBB545EB46, 0xBFF4, 0x8218DB9D3832D2E6, true)]
    [TestCase("FYL2X", 0, 0x4000, 0xA06923E77C199F20, 0x4015, 0x8C5A6689FF04320D, 0x4015, 0xBA0E4B7D96F7AA36, true)]
    [TestCase("FYL2X", 1, 0x4031, 0x996530FC25CE0846, 0x4026, 0xCF436908BACD6F11, 0x402C, 0xA2C5237C48D9F9A3, false)]
    [TestCase("FYL2X", 0, 0x3FD9, 0xDAC6272E0F806C7E, 0xBFFF, 0x8C4800347B5EC509, 0x4004, 0xA331AAE5E7D9D9F2, false)]
    [TestCase("FYL2X", 2, 0x3FFE, 0xFFFFFFFFFFFFFC44, 0xC015, 0x8B4B33A8AED3A320, 0x3FDF, 0xBB9D0F81F27BF02D, true)]
    [TestCase("FYL2X", 3, 0x3FFE, 0xFFFFFFFFFFFFFF23, 0x402A, 0xDF4A4779D2466A1D, 0xBFF3, 0x8B0C6CE8A91BDE7E, false)]
    [TestCase("FYL2X", 2, 0x4501, 0x818E0E3789F33FA9, 0x3FFD, 0xE39EC78F5F84298B, 0x4008, 0x8E7CA34DA0B89589, true)]
    [TestCase("FYL2X", 0, 0x3FFF, 0x8000000000000031, 0xBFE5, 0xDE12DCAFBBC08588, 0xBFAC, 0xF54B618658CAFE7D, false)]
    [TestCase("FYL2X", 3, 0x3FFE, 0xFFFFFFFFFFFFFD2F, 0x400E, 0xC51173778452B36B, 0xBFD8, 0xC82EBEE7464EE641, false)]
    [TestCase("FYL2X", 1, 0x41D4, 0xCE76FB6794C50CD2, 0xBFD9, 0x9664D413E534370E, 0xBFE2, 0x89F73A46742A8083, true)]
    [TestCase("FYL2XP1", 0, 0xBFDC, 0xFDDA9BBE4EAD821A, 0xBFFD, 0xCC5D3776DE797546, 0x3FDC, 0x922E87062B1FD491, true)]
    [TestCase("FYL2XP1", 2, 0x3D57, 0xFE3F6FCE14FACFF6, 0xC017, 0xEE1172A680740A9C, 0xBD71, 0xAA8DF14BF0415451, false)]
    [TestCase("FYL2XP1", 2, 0xBFFA, 0xC98248E2404A9809, 0xC00C, 0xEB1BCAB7BD05AE2D, 0x4009, 0x88E42CC668AC6FC5, true)]
    [TestCase("FYL2XP1", 1, 0x3783, 0xDF5A5F2007A33262, 0xBFDC, 0x9896585454BC8A69, 0xB761, 0xC0103E998179761B, true)]
    [TestCase("FYL2XP1", 0, 0xBFFC, 0xDB477AC3D96692DD, 0x3FE7, 0xAE5C244C5D8DC1F6, 0xBFE5, 0xF27800FF1C5C2FDF, false)]
    [TestCase("FYL2XP1", 2, 0xBFE8, 0xAD72A944ADABE530, 0x4009, 0xFFAD117AA2002DE6, 0xBFF3, 0xF9EA70E47A000DF5, false)]
    [TestCase("FYL2XP1", 0, 0xBFD8, 0xD65A87505DE33BA3, 0xBFF5, 0xB829DCCCB81186E5, 0x3FCF, 0xDE78008859B80996, true)]
    [TestCase("FYL2XP1", 2, 0x37CC, 0xC3B28B78FAA84C4B, 0xC007, 0x837A0CC910A06449, 0xB7D5, 0x91000F5FC9A5ED36, false)]
    [TestCase("FYL2XP1", 3, 0x3D32, 0xCC00CE0363A1F75C, 0xC006, 0xEADBA46298401F8D, 0xBD3B, 0x870108876B24469D, false)]
    [TestCase("FYL2XP1", 3, 0x3FFC, 0xC329510CE5155BB6, 0x3FEB, 0xE1B4BD0BEE137ABE, 0x3FE9, 0xE337805B59A15D85, false)]
    [TestCase("FPATAN", 3, 0xBFFB, 0xC4953FB6C79CB6EA, 0xC01D, 0xBF78CC9B1774F56C, 0xBFFF, 0xC90FDAA242436F60, false)]
    [TestCase("FPATAN", 2, 0xC288, 0xD137F895E207010D, 0x4007, 0x9F354255C191971C, 0x4000, 0xC90FDAA22168C235, true)]
    [TestCase("FPATAN", 2, 0x3FFD, 0xDB94FE507B9CDDF4, 0x3FD0, 0xCA08EC340020D733, 0x3FD1, 0xEB8AE9AD0976BFA5, true)]
    [TestCase("FPATAN", 2, 0xBFE8, 0x88F0132C81BDD743, 0x4012, 0xBB9932ED3A841043, 0x3FFF, 0xC90FDAA221801DF9, true)]
    [TestCase("FPATAN", 0, 0x413E, 0xCED6CB0A20B02D4D, 0x3FF0, 0xE9B2487C089E02F6, 0x3EB1, 0x909ED1BE2AB06810, false)]
    [TestCase("FPATAN", 1, 0xBFDF, 0x8EA34A4FF514D895, 0xBFF8, 0xFE7E047AA1852F1E, 0xBFFF, 0xC90FDAC60050CF6C, true)]
    [TestCase("FPATAN", 0, 0x4020, 0x834CA99C716CE289, 0xBFE5, 0xD89B2EA783219E5E, 0xBFC4, 0xD329BBAAE48BD1CD, true)]
    [TestCase("FPATAN", 2, 0xC000, 0x877B105E5C9212EE, 0x3FD7, 0x84F87BAACF74D740, 0x4000, 0xC90FDAA2214959FC, true)]
    [TestCase("FPATAN", 2, 0x4611, 0xC4B930D7607F9D5F, 0x4014, 0xFBACB4DE3B8260A4, 0x3A02, 0xA3C12A940F6F9A15, true)]
    [TestCase("FPATAN", 1, 0xBFFF, 0xEE273B3E1CDCC77B, 0xBFE3, 0x941C0C1F701BF392, 0xC000, 0xC90FDA9FA493248C, true)]
    [TestCase("FSIN", 2, 0x4038, 0x9FA4D8D237C0A067, 0xC034, 0xAA58D6148E4197F1, 0xBFFE, 0xFE0315B98B0414E1, false)]
    [TestCase("FSIN", 0, 0xBFE5, 0x925DFAEFC5651A51, 0x3FD7, 0xA191BF586C91D422, 0xBFE5, 0x925DFAEFC5651853, true)]
    [TestCase("FSIN", 3, 0x4012, 0xA4B3A8B9D9EB15F4, 0xC00F, 0xD8BAC0684CFE8503, 0xBFFE, 0xB3A6E7BBE060B856, false)]
    [TestCase("FSIN", 0, 0x4007, 0xD7E3EA1BD6F40BE2, 0x4012, 0xCD8F63620DAEB361, 0xBFFE, 0xFB7840C75EFD0203, true)]
    [TestCase("FSIN", 0, 0xC020, 0xB7BC237CFA53364A, 0x401B, 0xF2D6B9A88C8D9A6D, 0xBFFD, 0x965736914685973A, true)]
    [TestCase("FSIN", 1, 0xC02C, 0xEDF238B19F92558B, 0x4012, 0xD437112B351AA89B, 0xBFFE, 0xE6734C45B82341F1, true)]
    [TestCase("FSIN", 3, 0xC000, 0x897771A33AECF903, 0x3FF6, 0x856789508AF95E39, 0xBFFE, 0xD689A98EC118DBE1, false)]
    [TestCase("FSIN", 2, 0xC00F, 0xFA908C4F8A091225, 0x3FFB, 0xFD90BC1E7E9DD624, 0x3FFE, 0xD4CF6D61F4BF5BD9, true)]
    [TestCase("FSIN", 2, 0xC03B, 0xDCAC3FA8170626DA, 0xC002, 0xBCD4F7BEE3819233, 0x3FFE, 0xFFB68F3403E0192E, true)]
    [TestCase("FSIN", 2, 0x401D, 0x979D9967528E9432, 0xBFFE, 0xB4C98F813FAADD2F, 0xBFFD, 0xDCC4AB22C291BF43, false)]
    [TestCase("FCOS", 1, 0x401F, 0xE44E921CACB67463, 0x4022, 0xBDA664DAC5D53B62, 0xBFFE, 0xE10C47FD4F07D186, true)]
    [TestCase("FCOS", 3, 0x4022, 0xEA1FC9078CA5D5AE, 0xBFFE, 0x849FAAB1A8ECE0B2, 0x3FFD, 0xD8C3C079161601E4, false)]
    [TestCase("FCOS", 2, 0x402D, 0x9E637B7FAF191F85, 0x402D, 0xE71FB3255D7B9049, 0xBFFE, 0xAE3C9332131B9362, false)]
    [TestCase("FCOS", 1, 0xBFDD, 0xAD8209998421E584, 0x3FFF, 0x93A0C1C734E4A3C1, 0x3FFE, 0xFFFFFFFFFFFFFFFF, false)]
    [TestCase("FCOS", 3, 0x3FFF, 0xB2CD0BA7946076B5, 0xBFFA, 0xE94975566B130DE7, 0x3FFC, 0xB130FE61D42DF229, false)]
    [TestCase("FCOS", 2, 0x3FE6, 0xF57F73111AE62EEF, 0xBFE4, 0xEF2E12848C14CF91, 0x3FFE, 0xFFFFFFFFFFFF8A4A, true)]
    [TestCase("FCOS", 1, 0x3FE0, 0xCDD731E86388C5B2, 0xC006, 0x880AAABD092E1DA0, 0x3FFE, 0xFFFFFFFFFFFFFFFA, false)]
    [TestCase("FCOS", 3, 0x4027, 0x8FB1B605E5DEABEF, 0x4002, 0x9A5610AC6F4B721A, 0x3FFD, 0xD5B46C58B3D80C5D, false)]
    [TestCase("FCOS", 1, 0x4022, 0xE9F39010F6650EC6, 0x4012, 0xFDB991978DC07B4D, 0x3FFD, 0x85079B93F052AA94, false)]
    [TestCase("FCOS", 1, 0x4023, 0x9831890D3B3AA19B, 0xC002, 0x8802C26D103C908A, 0x3FFD, 0xDF23482C1C90E052, false)]
    [TestCase("FPTAN", 3, 0xC001, 0xFAABD4829E24536A, 0xC004, 0xC7CA96735C8C6F43, 0xC004, 0xC308ED86DCCD74F8, false)]
    [TestCase("FPTAN", 3, 0xBFF8, 0xBAD101A71BC97230, 0xC024, 0xA3A191BB547B6CE8, 0xBFF8, 0xBAD31446C3139A4B, false)]
    [TestCase("FPTAN", 1, 0xC02C, 0xBC09B38CFF78E0FC, 0xC003, 0x8FD2A1B03D5A0645, 0xBFFB, 0xC6D399444B492D6C, true)]
    [TestCase("FPTAN", 3, 0x403C, 0x90EB58F61186B37B, 0xC00A, 0x83CCB5145DB9B088, 0xBFFF, 0xB6F1E4AA4FE4C7D6, false)]
    [TestCase("FPTAN", 3, 0xBFFF, 0xBDFD25830032B063, 0xC020, 0xB403845653A2684D, 0xC002, 0xB87DD3C08A4C10B5, false)]
    [TestCase("FPTAN", 2, 0xBFE7, 0xF714A3CC9BC22929, 0x3FDD, 0x9A45E8C93B6C3834, 0xBFE7, 0xF714A3CC9BC35C0B, false)]
    [TestCase("FPTAN", 0, 0x3FE5, 0x96E52BD301AF9B02, 0x3FFC, 0xFA64B9ABEEEB9FCE, 0x3FE5, 0x96E52BD301AF9F60, false)]
    [TestCase("FPTAN", 1, 0x4004, 0xCF7A3AE6B6537E6F, 0xBFD4, 0x8F15A86321380E80, 0xC003, 0xF1B3B5E03EA169D4, true)]
    [TestCase("FPTAN", 1, 0xC026, 0xD2AB52DFB50FEDAD, 0xC00C, 0x915EC54E8D2DE512, 0x3FFE, 0xBA3A1E2466155133, false)]
    [TestCase("FPTAN", 2, 0xC003, 0x8A35FA8E74396B31, 0x3FFA, 0xC003407A3E72E4A8, 0xC007, 0xD0174DAF521D356C, false)]
    public void Is_correctly_rounded(
        string name, int rounding, int exponentX, ulong x, int exponentY, ulong y, int exponent, ulong result, bool isUp)
    {
        var state = X87State.Initial;
        X87.LoadControlWord(ref state, (ushort)(state.Control | rounding << 10));
        X87.Load(ref state, new Float80(y, (ushort)exponentY));
        X87.Load(ref state, new Float80(x, (ushort)exponentX));

        Forms().Single(form => form.Name == name).Ours(ref state);

        Assert.That(state[name == "FPTAN" ? 1 : 0], Is.EqualTo(new Float80(result, (ushort)exponent)));
        Assert.That((state.Status & 0x0200) != 0, Is.EqualTo(isUp));
    }

    /// <summary>Neighbouring numbers of one sign have neighbouring ranks.</summary>
    static Int128 Rank(Float80 value) => (Int128)value.SignExponent << 63 | value.Significand & long.MaxValue;

    static IEnumerable<Form> Forms() =>
    [
        new("F2XM1", c => c.f2xm1(), X87.PowerOfTwoMinusOne),
        new("FYL2X", c => c.fyl2x(), X87.Logarithm),
        new("FYL2XP1", c => c.fyl2xp1(), X87.LogarithmOfOnePlus),
        new("FPATAN", c => c.fpatan(), X87.Arctangent),
        new("FSIN", c => c.fsin(), X87.Sine),
        new("FCOS", c => c.fcos(), X87.Cosine),
        new("FSINCOS", c => c.fsincos(), X87.SineAndCosine),
        new("FPTAN", c => c.fptan(), X87.Tangent),
    ];
}
