using Iced.Intel;

namespace VmLab.X86.Oracle;

/// <summary>An encoding of an instruction in a mode.</summary>
/// <param name="Bitness">64 for 64-bit code; 32 for 32-bit code in compatibility mode.</param>
public readonly record struct Form(Code Code, int Bitness);

/// <summary>The list of all forms that are announced, from Iced's metadata.</summary>
public static class Forms
{
    /// <summary>Each announced encoding once, in 64-bit code if that has it, and again in 32-bit code if that has it.</summary>
    public static IReadOnlyList<Form> Announced { get; } =
    [
        .. from code in Enum.GetValues<Code>()
           let info = code.ToOpCode()
           where IsDecoded(info) && Features.IsAnnounced(code)
           from bitness in (int[])[64, 32]
           where bitness == 64 ? info.AmdDecoder64 : info.AmdDecoder32
           select new Form(code, bitness),
    ];

    // A name with FWAIT in it is two instructions. What has an option is another maker's or was dropped long ago.
    static bool IsDecoded(OpCodeInfo info) =>
        info.IsInstruction && info.Encoding == EncodingKind.Legacy && !info.Fwait && info.DecoderOption == DecoderOptions.None;
}
