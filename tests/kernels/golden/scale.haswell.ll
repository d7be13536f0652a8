; ModuleID = "test_scale"
target triple = "x86_64-unknown-linux-gnu"
target datalayout = ""

define void @"test_scale"(ptr %"arguments", i64 %"begin", i64 %"end") "no-trapping-math"="true" "probe-stack"="inline-asm" nounwind
{
entry:
  %".5" = load ptr, ptr %"arguments", align 8
  %".6" = getelementptr inbounds i8, ptr %"arguments", i64 8
  %".7" = load float, ptr %".6", align 8
  %".8" = getelementptr inbounds i8, ptr %"arguments", i64 16
  %".9" = load i64, ptr %".8", align 8
  %".10" = insertelement <8 x float> poison, float %".7", i32 0
  %".11" = shufflevector <8 x float> %".10", <8 x float> poison, <8 x i32> <i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0>
  %".12" = icmp slt i64 %"begin", %"end"
  br i1 %".12", label %"loop", label %"after"
loop:
  %".14" = phi  i64 [%"begin", %"entry"], [%".22", %"loop"]
  %".15" = mul i64 %".14", 8
  %".16" = getelementptr inbounds float, ptr %".5", i64 %".15"
  %".17" = load <8 x float>, ptr %".16", align 4
  %".18" = fmul contract <8 x float> %".17", %".11"
  %".19" = mul i64 %".14", 8
  %".20" = getelementptr inbounds float, ptr %".5", i64 %".19"
  store <8 x float> %".18", ptr %".20", align 4
  %".22" = add i64 %".14", 1
  %".23" = icmp slt i64 %".22", %"end"
  br i1 %".23", label %"loop", label %"after"
after:
  ret void
}
