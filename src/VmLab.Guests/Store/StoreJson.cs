using System.Text.Json.Serialization;

namespace VmLab.Guests.Store;

/// <summary>How the store's own files are written: by generated code, since a program may run without reflection.</summary>
[JsonSourceGenerationOptions(
    WriteIndented = true, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(Selection))]
[JsonSerializable(typeof(StoredGuest))]
sealed partial class StoreJson : JsonSerializerContext;
